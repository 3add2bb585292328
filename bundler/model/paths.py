"""Which paths and relative links a bundle may name on a repo host.

Relative, POSIX, normalised, made of letters, digits and ``. _ + ! = @ ~ , % : -``. No white space, so that the
tables can be read by POSIX sh; no part that starts with ``.`` (state of ours) or ``-`` (an option).
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable

from bundler.errors import FormatError

MAX_PATH = 1024
MAX_PART = 255
_PUNCTUATION = frozenset("._+!=@~,%:-")


def check_path(path: str) -> str:
    """Return ``path`` if a bundle may name it.

    Raises:
        FormatError: It is absolute, not normalised, too long or has a character that is not allowed.
    """
    if not path or len(path.encode("utf-8", "surrogatepass")) > MAX_PATH:
        raise FormatError(f"path is empty or longer than {MAX_PATH} bytes")
    for part in path.split("/"):
        _check_part(path, part)
    return path


def _check_part(path: str, part: str) -> None:
    if not part:
        raise FormatError(f"path {path!r} is absolute or has an empty part")
    if part[0] in ".-":
        raise FormatError(f"path {path!r}: a part must not start with {part[0]!r}")
    bad = next((char for char in part if not _allowed(char)), None)
    if bad is not None:
        raise FormatError(f"path {path!r} has the character {bad!r}, which is not allowed")
    if len(part.encode()) > MAX_PART:
        raise FormatError(f"path {path!r} has a part longer than {MAX_PART} bytes")
    if not unicodedata.is_normalized("NFC", part):
        raise FormatError(f"path {path!r} is not in Unicode's normal form C")


def _allowed(char: str) -> bool:
    return char.isalnum() or char in _PUNCTUATION


def check_link(path: str, to: str) -> str:
    """Return ``to`` if it is a relative link target that stays inside the root when read from ``path``.

    Raises:
        FormatError: It is absolute, not in its shortest form, leaves the root, or is the root.
    """
    rest = to
    while rest.startswith("../"):
        rest = rest[3:]
    check_path(rest)
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), to))
    if inside.startswith("../") or inside in ("..", "."):
        raise FormatError(f"link {path!r} leads out of the root: {to!r}")
    return to


def check_tree(paths: Iterable[str]) -> None:
    """Refuse a set of paths in which one occurs twice or is a directory of another.

    Raises:
        FormatError: Naming the path.
    """
    seen: set[str] = set()
    parents: set[str] = set()
    for path in paths:
        if path in seen:
            raise FormatError(f"path {path!r} occurs twice")
        seen.add(path)
        parts = path.split("/")
        parents.update("/".join(parts[:end]) for end in range(1, len(parts)))
    both = seen & parents
    if both:
        raise FormatError(f"path {min(both)!r} is a file and a directory")

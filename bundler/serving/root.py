"""Opening what lies below a root, and nothing else.

Three rules. No part of a path that is asked for begins with a dot: so nothing leads to ``.bundles``, or upwards.
Links are followed, for they are how a release is served, but what was opened has to lie below the root, and of
``.bundles`` in the view of releases that is, or was, served. Only regular files are ever read.

The system itself says what was opened (``/proc/self/fd``): no switch of releases comes between looking and opening.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from bundler.errors import UsageError

#: What a root of ours has at least one of, be it that nothing was activated yet.
_SIGNS = (".bundles", "os-releases", "simple")
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_PROJECT = re.compile(
    rb"(?P<index>(?:simple/[^/]+|os-releases/[^/]+(?:/[^/]+)?/simple))/(?P<name>[^/]+)(?P<rest>/.*)?"
)
_SEPARATORS = re.compile(rb"[-_.]+")
_NOT_PROJECTS = (b"_", b"index.html", b"index.json")


class NotServed(Exception):
    """There is nothing at a path that is served; why is nobody's business."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An open file or directory. Who got it closes it."""

    handle: int
    facts: os.stat_result

    @property
    def is_directory(self) -> bool:
        """Return whether it is a directory."""
        return stat.S_ISDIR(self.facts.st_mode)

    def close(self) -> None:
        """Close it."""
        os.close(self.handle)


class Root:
    """A directory of which files are served."""

    def __init__(self, path: Path) -> None:
        """Take a root.

        Raises:
            UsageError: It is none: not there, no directory, or nothing of ours was ever put there.
        """
        self.path = path
        if not path.is_dir():
            raise UsageError(
                f"{path} is no directory", hint="--root names the root of a repo host, as site.yaml does"
            )
        self._real = os.fsencode(os.path.realpath(path))
        if not any((path / name).exists() for name in _SIGNS):
            raise UsageError(
                f"{path} holds no release: none of {', '.join(_SIGNS)} is there",
                hint="--root names the root of a repo host; bundle-install apply brings a release to one",
            )
        if not Path("/proc/self/fd").is_dir():
            raise UsageError(
                "/proc is not there, by which what was opened is checked", hint="mount -t proc proc /proc"
            )

    def open(self, path: bytes) -> Entry:
        """Open what a relative path leads to.

        Raises:
            NotServed: There is nothing there, or nothing that may be served.
        """
        return self._opened(os.path.join(self._real, path), None)  # noqa: PTH118 — bytes

    def open_in(self, directory: Entry, name: bytes) -> Entry:
        """Open a file of a directory that is open; errors as :meth:`open`."""
        return self._opened(name, directory.handle)

    def _opened(self, path: bytes, directory: int | None) -> Entry:
        try:
            handle = os.open(path, _FLAGS, dir_fd=directory)
        except (OSError, ValueError) as error:
            raise NotServed from error
        try:
            return Entry(handle=handle, facts=self._checked(handle))
        except BaseException:
            os.close(handle)
            raise

    def _checked(self, handle: int) -> os.stat_result:
        facts = os.fstat(handle)
        if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)) or not self._may_serve(handle):
            raise NotServed
        return facts

    def _may_serve(self, handle: int) -> bool:
        real = os.readlink(b"/proc/self/fd/%d" % handle)  # noqa: PTH115 — bytes
        if real == self._real:
            return True
        if not real.startswith(self._real.rstrip(b"/") + b"/"):
            return False
        parts = real[len(self._real) :].strip(b"/").split(b"/")
        if parts[0] == b".bundles":
            # .bundles/views/<number>/tree/…
            return parts[1:2] == [b"views"] and parts[3:4] == [b"tree"] and not _hidden(parts[4:])
        return not _hidden(parts)


def clean(target: str) -> bytes:
    """Return the path of a request's target, relative, decoded, with single slashes; a directory's ends with one.

    Raises:
        NotServed: A part of it begins with a dot, or holds what no name holds.
    """
    path = re.sub(r"^[a-z]+://[^/?#]*", "", target, flags=re.IGNORECASE)
    decoded = unquote_to_bytes(re.split(r"[?#]", path, maxsplit=1)[0])
    parts = [part for part in decoded.split(b"/") if part]
    if _hidden(parts) or b"\0" in decoded:
        raise NotServed
    return b"/".join(parts) + (b"/" if parts and decoded.endswith(b"/") else b"")


def normalised(path: bytes) -> bytes:
    """Return a path in which a project of the simple API is named as PEP 503 does; others as they are."""
    match = _PROJECT.fullmatch(path)
    if match is None or match["name"].startswith(_NOT_PROJECTS):
        return path
    return match["index"] + b"/" + _SEPARATORS.sub(b"-", match["name"]).lower() + (match["rest"] or b"")


def names(directory: Entry) -> Iterator[str]:
    """Yield the files of a directory that may be listed, sorted."""
    yield from sorted(name for name in os.listdir(directory.handle) if not name.startswith("."))  # noqa: PTH208


def _hidden(parts: list[bytes]) -> bool:
    return any(part.startswith(b".") for part in parts)

"""``known_hosts`` as sshd(8) describes it: which hosts have a pinned key. Hashed names, patterns, ports."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bundler.errors import Problem

SSH_PORT = 22
MAX_SIZE = 4 << 20
_KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}")
_MARKERS = ("@cert-authority", "@revoked")


@dataclass(frozen=True, kw_only=True)
class KnownHost:
    """One line. ``names`` as written; ``key`` is ``KEYTYPE BASE64``; ``marker`` is empty on a plain line."""

    line: int
    names: tuple[str, ...]
    key: str
    marker: str = ""

    def is_for(self, address: str, port: int = SSH_PORT) -> bool:
        """Return whether the line speaks of this address and port."""
        name = address.lower() if port == SSH_PORT else f"[{address.lower()}]:{port}"
        if any(_fits(one[1:], name) for one in self.names if one.startswith("!")):
            return False
        return any(_fits(one, name) for one in self.names if not one.startswith("!"))


def parse_known_hosts(data: bytes, where: str) -> tuple[tuple[KnownHost, ...], tuple[Problem, ...]]:
    """Return the lines of a known_hosts file, and what is wrong with others."""
    if len(data) > MAX_SIZE:
        return (), (Problem(where=where, what=f"is larger than {MAX_SIZE} bytes"),)
    found: list[KnownHost] = []
    problems: list[Problem] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        entry = _entry(text, number)
        if entry is None:
            hint = "a line is: NAMES KEYTYPE KEY, as ssh-keyscan prints it"
            problems.append(Problem(where=f"{where}:{number}", what="is no known_hosts line", hint=hint))
        else:
            found.append(entry)
    return tuple(found), tuple(problems)


def _entry(text: str, number: int) -> KnownHost | None:
    marker, rest = "", text.split()
    if rest[0].startswith("@"):
        marker = rest.pop(0)
        if marker not in _MARKERS:
            return None
    key = " ".join(rest[1:3])
    if _KEY.fullmatch(key) is None or not _is_base64(rest[2]):
        return None
    return KnownHost(line=number, names=tuple(rest[0].split(",")), key=key, marker=marker)


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except binascii.Error:
        return False


def _fits(written: str, name: str) -> bool:
    if written.startswith("|"):
        return _fits_hash(written, name)
    # Only * and ? are patterns there; brackets are part of a name with a port.
    return fnmatchcase(name, written.lower().replace("[", "[[]"))


def _fits_hash(written: str, name: str) -> bool:
    """Compare with ``|1|salt|HMAC-SHA1 of the name``."""
    parts = written.split("|")
    try:
        empty, version, salt, digest = parts
        made = hmac.new(base64.b64decode(salt, validate=True), name.encode(), hashlib.sha1).digest()
        return (empty, version) == ("", "1") and hmac.compare_digest(made, base64.b64decode(digest, validate=True))
    except (ValueError, binascii.Error):
        return False


def pinned(entries: tuple[KnownHost, ...], address: str, port: int = SSH_PORT) -> tuple[KnownHost, ...]:
    """Return the lines that pin a key, or an authority over keys, of a host; revoked keys pin nothing."""
    mine = [entry for entry in entries if entry.is_for(address, port)]
    revoked = {entry.key for entry in entries if entry.marker == "@revoked" and entry.is_for(address, port)}
    return tuple(entry for entry in mine if entry.marker != "@revoked" and entry.key not in revoked)

"""What is done with admitted releases on a repo host: serve, roll back, prune, check, mend, vouch.

Every function is one request to the script at the far end (data/40-activate.sh, data/50-look.sh), which holds the
host's lock meanwhile. Each of them may be cut anywhere and asked again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bundler.errors import FormatError
from bundler.repohost.port import Difference, Kind
from bundler.repohost.wire import Wire

#: A push that was cut is kept this long, so that it can go on (seconds).
KEEP_PUSHES = 7 * 24 * 3600
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
_FETCHED_AT_ONCE = 200
#: Where OpenStack-Ansible itself writes: what is there beside ours is no drift and is kept (carry in 40-activate.sh).
_OTHERS_WRITE = re.compile(r"(constraints|os-releases/[^/]+/[^/]+/requirements)/[^/]+")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
_TYPES = {"-": "file", "d": "directory", "l": "link", "p": "pipe", "s": "socket", "b": "device", "c": "device"}


@dataclass(frozen=True, kw_only=True)
class PrunePlan:
    """What a prune would remove: releases, pushes that were cut, a number of blobs; bytes of disk that gives back."""

    releases: tuple[str, ...] = ()
    pushes: tuple[str, ...] = ()
    blobs: int = 0
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Differences, and for releases whose signatures the host's trust of today refuses: why."""

    differences: tuple[Difference, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """An entry of a tree, as ``ls -l`` has it."""

    mode: str
    owner: str
    to: str


def activate(wire: Wire, bundle_id: str) -> None:
    """Serve an admitted release; what its line served becomes the previous one. Nothing to do if it is served."""
    wire.ask("activate", bundle_id)


def rollback(wire: Wire, line: str, to: str) -> str:
    """Serve the line's previous release again, which the caller knows to be ``to``; return its id.

    ``to`` makes a second try harmless: where it is served already, nothing is done.

    Raises:
        SequenceRefused, BundleRevoked, HostRefused: Trust has moved past it, or it is not the previous one.
    """
    wire.ask("rollback", line, to)
    return to


def pin(wire: Wire, bundle_id: str) -> None:
    """Keep prune from a release."""
    wire.ask("pin", bundle_id)


def unpin(wire: Wire, bundle_id: str) -> None:
    """Let prune have a release."""
    wire.ask("unpin", bundle_id)


def prune_plan(wire: Wire, ids: Sequence[str]) -> PrunePlan:
    """Return what :func:`prune` would remove; changes nothing."""
    said: dict[str, list[str]] = {"release": [], "push": [], "blobs": ["0"], "bytes": ["0"]}
    for line in wire.ask("prune_plan", str(KEEP_PUSHES), *ids):
        word, _, rest = line.partition(" ")
        said.setdefault(word, []).append(rest)
    return PrunePlan(
        releases=tuple(said["release"]),
        pushes=tuple(said["push"]),
        blobs=int(said["blobs"][-1]),
        size=int(said["bytes"][-1]),
    )


def prune(wire: Wire, ids: Sequence[str]) -> int:
    """Remove releases and what nothing needs any more; return how many bytes of disk that gave back.

    Raises:
        HostRefused: One of them is active, previous or pinned; nothing was removed.
    """
    for line in wire.ask("prune", str(KEEP_PUSHES), *ids):
        word, _, rest = line.partition(" ")
        if word == "bytes":
            return int(rest)
    return 0


def check(wire: Wire, bundle_id: str = "") -> tuple[Difference, ...]:
    """Return the differences that :func:`check_all` finds."""
    return check_all(wire, bundle_id).differences


def check_all(wire: Wire, bundle_id: str = "") -> Checked:
    """Compare every entry and every byte with what was signed, sorted by path.

    Without ``bundle_id`` that is what is served: all lines, each one's active release over its previous one. With it,
    it is the release's own tree, from which views are made, served or not.
    """
    lines = wire.ask("check", *([bundle_id] if bundle_id else []))
    refused = (line[1:].partition(" ") for line in lines if line.startswith("?"))
    return Checked(
        differences=differences(line for line in lines if not line.startswith("?")),
        refused={release: why for release, _, why in refused},
    )


def damaged_blobs(wire: Wire, ids: Sequence[str]) -> tuple[str, ...]:
    """Return the blobs of these releases that are missing on the host or have other bytes."""
    return tuple(wire.ask("damaged", *ids))


def restore(wire: Wire, bundle_id: str) -> tuple[str, ...]:
    """Put together again what differs in a release, and serve it anew if it is served.

    Return the blobs that are needed for that: then nothing was done but to drop bad ones; send them and ask again.
    """
    return tuple(wire.ask("restore", bundle_id))


def fetch_blobs(wire: Wire, digests: Iterable[str]) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """Yield digest, size and bytes of each blob; take all bytes of one before the next. The caller hashes them."""
    wanted = list(digests)
    for start in range(0, len(wanted), _FETCHED_AT_ONCE):
        yield from wire.fetch("fetch", *wanted[start : start + _FETCHED_AT_ONCE])


def host_receipt(wire: Wire, key: str = HOST_KEY) -> tuple[bytes, bytes]:
    """Return what the host says it has, as text, and the signature of its host key over it (namespace receipt@)."""
    parts: dict[str, list[str]] = {"receipt": [], "signature": []}
    for line in wire.ask("receipt", key):
        word, _, rest = line.partition(" ")
        parts[word].append(rest)
    text, signature = ("".join(f"{line}\n" for line in parts[word]).encode() for word in ("receipt", "signature"))
    return text, signature


def differences(lines: Iterable[str]) -> tuple[Difference, ...]:
    """Read what ``check`` says: ``-`` rows that should be there, ``+`` rows that are there, ``!`` other bytes."""
    wanted: dict[str, _Entry] = {}
    found: dict[str, _Entry] = {}
    result: list[Difference] = []
    for line in lines:
        if line.startswith("!"):
            result.append(Difference(kind="changed", path=line[1:]))
        elif line.startswith("-"):
            wanted.update([_row(line[1:])])
        elif line.startswith("+"):
            path, entry = _row(line[1:])
            found[_unescape(path)] = entry
        else:
            raise FormatError(f"a check said {line[:80]!r}")
    for path in wanted.keys() | found.keys():
        result += _difference(path, wanted.get(path), found.get(path))
    return tuple(sorted(result, key=lambda one: (one.path, one.kind)))


def _row(text: str) -> tuple[str, _Entry]:
    try:
        path, mode, owner, group, to = text.split("\t")
    except ValueError:
        raise FormatError(f"a check said {text[:80]!r}") from None
    return path, _Entry(mode=mode, owner=f"{owner}:{group}", to=to)


def _unescape(name: str) -> str:
    """Undo ``ls -b``."""
    raw = bytearray()
    at = 0
    for escape in _ESCAPE.finditer(name):
        raw += name[at : escape.start()].encode()
        code = escape[1]
        raw += bytes([int(code, 8) & 255]) if len(code) > 1 else _ESCAPES.get(code, code).encode()
        at = escape.end()
    raw += name[at:].encode()
    return raw.decode("utf-8", "replace")


def _difference(path: str, wanted: _Entry | None, found: _Entry | None) -> list[Difference]:
    if wanted is None or found is None:
        if found is None:
            return [Difference(kind="removed", path=path)]
        return [] if _OTHERS_WRITE.fullmatch(path) else [Difference(kind="added", path=path, detail=_type(found))]
    if wanted.mode[0] != found.mode[0]:
        kind: Kind = "link" if "l" in (wanted.mode[0], found.mode[0]) else "changed"
        return [Difference(kind=kind, path=path, detail=f"a {_type(found)}, was signed as a {_type(wanted)}")]
    result = []
    if wanted.to != _unescape(found.to):
        result.append(Difference(kind="link", path=path, detail=f"leads to {found.to}, not {wanted.to}"))
    if wanted.mode != found.mode:
        result.append(Difference(kind="mode", path=path, detail=f"{found.mode}, not {wanted.mode}"))
    if wanted.owner != found.owner:
        result.append(Difference(kind="owner", path=path, detail=f"{found.owner}, not {wanted.owner}"))
    return result


def _type(entry: _Entry) -> str:
    return _TYPES.get(entry.mode[:1], "thing of unknown type")

"""What is done with admitted releases on a repo host: serve, roll back, prune, check, mend, vouch.

Every function is one request to the script at the far end (data/40-activate.sh, data/50-look.sh), which holds the
host's lock meanwhile. Each of them may be cut anywhere and asked again.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bundler.errors import FormatError
from bundler.repohost.port import Difference, Kind
from bundler.repohost.wire import Wire

#: A push that was cut is kept this long, so that it can go on (seconds).
KEEP_PUSHES = 7 * 24 * 3600
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
_FETCHED_AT_ONCE = 200
#: No blob is larger, where its signed size is not known (bytes).
_MAX_BLOB = 1 << 33
#: No list, signatures and tables of a release are larger together (bytes).
_MAX_SIGNED = 64 << 20
#: How lines of a check begin that are about signed parts.
_VOUCHES = ("*", "#", "?")
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
class SignedPart:
    """What a host has of a release's signed part.

    ``faults``: files that are changed or removed, where the host can tell by itself; ``digests``: of the list and the
    signatures, by name; ``status`` and ``why``: by which rule its trust of today refuses it, 0 if it does not.
    """

    faults: tuple[tuple[Kind, str], ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    status: int = 0
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Differences of what is served, and the signed part of each release of it, by id.

    Without the tables there is nothing to compare with: ``differences`` is empty then.
    """

    differences: tuple[Difference, ...] = ()
    signed: Mapping[str, SignedPart] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """An entry of a tree, as ``ls -l`` has it."""

    mode: str
    owner: str
    to: str


def distrust(wire: Wire, words: Iterable[str]) -> None:
    """Let the host trust less than its own trust says, for the rest of the conversation.

    ``words``: ``signer:<name>``, ``key:<base64 of the public key>``, ``bundle:<SHA-256 of SHA256SUMS>``.
    """
    wire.ask("distrust", *words)


def activate(wire: Wire, bundle_id: str) -> None:
    """Serve an admitted release; what its line served becomes the previous one. Nothing to do if it is served.

    Raises:
        TrustError: The host's trust of today no longer vouches for it.
    """
    wire.ask("activate", bundle_id)


def rollback(wire: Wire, line: str, to: str) -> str:
    """Serve the line's previous release again, which the caller knows to be ``to``; return its id.

    ``to`` makes a second try harmless: where it is served already, nothing is done.

    Raises:
        TrustError: The host's trust of today no longer vouches for it, or has moved past it.
        HostRefused: It is not the previous one.
    """
    wire.ask("rollback", line, to)
    return to


def deactivate(wire: Wire, line: str, bundle_id: str) -> None:
    """Serve nothing of a line again; what was activated is the first of its releases. It stays, admitted.

    Raises:
        HostRefused: It is not, or another one is served.
    """
    wire.ask("deactivate", line, bundle_id)


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
        HostRefused: One of them is active or previous; nothing was removed.
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
    return Checked(
        differences=differences(line for line in lines if not line.startswith(_VOUCHES)),
        signed=_signed_parts(line for line in lines if line.startswith(_VOUCHES)),
    )


def vouch(wire: Wire, bundle_id: str) -> SignedPart:
    """Return what the host has of a release's signed part; no file of the release itself is read."""
    return _signed_parts(wire.ask("vouch", bundle_id)).get(bundle_id, SignedPart())


def restore_signed(wire: Wire, bundle_id: str) -> None:
    """Have the host put the signed part that was pushed in place of a damaged one, by its own trust.

    Raises:
        BundlerError: With the rule by which it refused; it has what it had.
    """
    wire.ask("restore_signed", bundle_id)


def fetch_signed(wire: Wire, bundle_id: str) -> dict[str, bytes]:
    """Return the files of a release's signed part, as they lie there: whoever gets them has to judge them.

    Raises:
        HostRefused: They are too large, or one of them comes twice.
    """
    found: dict[str, bytes] = {}
    sizes: dict[str, int] = {}

    def due(name: str, size: int) -> bool:
        new = name not in sizes
        sizes[name] = size
        return new and sum(sizes.values()) <= _MAX_SIGNED

    for name, _, pieces in wire.fetch("fetch_signed", bundle_id, due=due):
        found[name] = b"".join(pieces)
    return found


def damaged_blobs(wire: Wire, ids: Sequence[str]) -> tuple[str, ...]:
    """Return the blobs of these releases that are missing on the host or have other bytes."""
    return tuple(wire.ask("damaged", *ids))


def restore(wire: Wire, bundle_id: str) -> tuple[str, ...]:
    """Put together again what differs in a release, and serve it anew if it is served.

    Return the blobs that are needed for that: then nothing was done but to drop bad ones; send them and ask again.
    """
    return tuple(wire.ask("restore", bundle_id))


def fetch_blobs(wire: Wire, sizes: Mapping[str, int | None]) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """Yield digest, size and bytes of each blob; take all bytes of one before the next. The caller hashes them.

    ``sizes``: digest → signed size, None where nobody here knows it.

    Raises:
        HostRefused: It has not got one, or what comes is none of them, or of another size.
    """
    wanted = dict(sizes)

    def due(digest: str, size: int) -> bool:
        known = wanted.pop(digest, -1)
        return size <= _MAX_BLOB if known is None else size == known

    digests = list(sizes)
    for start in range(0, len(digests), _FETCHED_AT_ONCE):
        yield from wire.fetch("fetch", *digests[start : start + _FETCHED_AT_ONCE], due=due)


def host_receipt(wire: Wire, key: str = HOST_KEY) -> tuple[bytes, bytes]:
    """Return what the host says it has, as text, and the signature of its host key over it (namespace receipt@)."""
    parts: dict[str, list[str]] = {"receipt": [], "signature": []}
    for line in wire.ask("receipt", key):
        word, _, rest = line.partition(" ")
        parts[word].append(rest)
    text, signature = ("".join(f"{line}\n" for line in parts[word]).encode() for word in ("receipt", "signature"))
    return text, signature


def _signed_parts(lines: Iterable[str]) -> dict[str, SignedPart]:
    """Read what ``vouch`` says: ``*ID KIND NAME``, ``#ID NAME DIGEST``, ``?ID STATUS WHY``."""
    found: dict[str, SignedPart] = {}
    for line in lines:
        release, _, rest = line[1:].partition(" ")
        first, _, second = rest.partition(" ")
        part = found.get(release, SignedPart())
        if line.startswith("*"):
            kind: Kind = "removed" if first == "removed" else "changed"
            found[release] = replace(part, faults=(*part.faults, (kind, second)))
        elif line.startswith("#"):
            found[release] = replace(part, digests={**part.digests, first: second})
        else:
            found[release] = replace(part, status=int(first), why=second)
    return found


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
    if wanted.to != _unescape(found.to) and not _leads_there_too(path, wanted.to, _unescape(found.to)):
        result.append(Difference(kind="link", path=path, detail=f"leads to {found.to}, not {wanted.to}"))
    if wanted.mode != found.mode:
        result.append(Difference(kind="mode", path=path, detail=f"{found.mode}, not {wanted.mode}"))
    if wanted.owner != found.owner:
        result.append(Difference(kind="owner", path=path, detail=f"{found.owner}, not {wanted.owner}"))
    return result


def _leads_there_too(path: str, to: str, found: str) -> bool:
    """Return whether a link of OpenStack-Ansible's is ours with an absolute path: its role makes it so."""
    return bool(_OTHERS_WRITE.fullmatch(path)) and found.endswith(f"/{posixpath.dirname(path)}/{to}")


def _type(entry: _Entry) -> str:
    return _TYPES.get(entry.mode[:1], "thing of unknown type")

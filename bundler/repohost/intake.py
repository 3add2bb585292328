"""What is sent to a repo host, and what it says of itself: data/20-intake.sh and data/30-admit.sh."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from bundler.archive.tar import END, TarEntry, segment, segment_size
from bundler.errors import FormatError, HostRefused
from bundler.model.trust import trust_directory
from bundler.repohost.port import HostBlobs, HostFacts, HostRelease, ReleaseState, Seen
from bundler.repohost.wire import MAX_DIGITS, Bounds, Wire
from bundler.transport.buffers import joined

#: Blobs of one request.
BATCH_BLOBS = 5000
#: Blobs that go together in one tar archive: so many at most, of so many bytes; a larger one goes by itself (bytes).
_TAR_BLOBS, _TAR_SIZE, _LARGE = 256, 32 << 20, 8 << 20
_DIGEST_LENGTH = 64
#: A host's description of itself: some lines for each release, one for each stranger below its root.
_HELLO = Bounds(lines=50_000, size=8 << 20)
_STATES = ("active", "previous", "staged")


@dataclass(frozen=True, kw_only=True)
class OutgoingBlob:
    """A blob to send: ``pieces`` are its bytes from ``offset`` on, which the host lacks."""

    digest: str
    size: int
    offset: int
    pieces: Iterable[bytes]


@dataclass
class _Look:
    """What one ``hello`` says, line by line."""

    values: dict[str, str] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)
    releases: list[tuple[str, str, dict[str, list[str]]]] = field(default_factory=list)

    def take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "foreign":
            self.foreign.append(rest)
        elif word == "seen":
            name, epoch, sequence, digest = rest.split(" ")
            self.seen[name] = Seen(epoch=int(epoch), sequence=int(sequence), digest=digest)
        elif word == "release":
            bundle_id, _, state = rest.partition(" ")
            self.releases.append((bundle_id, state, {}))
        elif word == "fact":
            key, _, value = rest.partition(" ")
            self.releases[-1][2].setdefault(key, []).append(value)
        else:
            self.values[word] = rest


def look(wire: Wire) -> HostFacts:
    """Return what the host says of itself; changes nothing there.

    Raises:
        HostRefused: It says something that cannot be understood.
    """
    found = _Look()
    try:
        for line in wire.ask("hello", bounds=_HELLO):
            found.take(line)
        return HostFacts(
            system=found.values["system"],
            free=int(found.values["free"]),
            inodes=int(found.values["inodes"]),
            releases=tuple(_release(*entry) for entry in found.releases),
            seen=found.seen,
            trust=int(found.values["trust"]),
            foreign=tuple(found.foreign),
            holder=found.values.get("holder", ""),
            writable=found.values["writable"] == "1",
        )
    except (KeyError, ValueError, IndexError) as error:
        raise HostRefused(
            f"{wire.label}: its description of itself is garbled: {error}", hint="look into .bundles below its root"
        ) from error


def _release(bundle_id: str, state: str, facts: Mapping[str, Sequence[str]]) -> HostRelease:
    if state not in _STATES:
        raise ValueError(state)
    return HostRelease(
        id=bundle_id,
        line=bundle_id.rpartition("-")[0],
        sequence=int(facts["sequence"][0]),
        digest=facts["digest"][0],
        targets=tuple(facts["target"]),
        state=cast("ReleaseState", state),
        size=int(facts["size"][0]),
        admitted=int(facts["admitted"][0]),
    )


def blobs(wire: Wire) -> HostBlobs:
    """Return which blobs the host has, complete and in part.

    Raises:
        HostRefused: It says something that cannot be understood.
    """
    found: dict[str, dict[str, int]] = {"complete": {}, "partial": {}}
    stored: set[str] = set()
    for line in wire.ask("blobs"):
        word, _, rest = line.partition(" ")
        path, _, size = rest.rpartition(" ")
        shelf, _, digest = path.rpartition("/")
        if word not in found or not size.isdecimal() or len(size) > MAX_DIGITS:
            raise HostRefused(f"{wire.label}: garbled among the blobs that it has: {line[:80]!r}")
        if len(digest) == _DIGEST_LENGTH:
            found[word][digest] = int(size)
            # Only those of the store lie in directories by their first digits.
            stored |= {digest} if shelf else set()
    return HostBlobs(
        complete=found["complete"],
        inbox=frozenset(found["complete"].keys() - stored),
        partial={digest: size for digest, size in found["partial"].items() if digest not in found["complete"]},
    )


def send_trust(
    wire: Wire, containers: Iterable[tuple[int, Mapping[str, bytes]]], admitting: Wire | None = None
) -> None:
    """Hand over trust documents, oldest first; the host accepts each by its own rules, or has it already.

    ``admitting`` is the conversation that accepts, where it is another one.

    Raises:
        TrustRefused: It does not follow what the host has.
    """
    for version, files in sorted(containers):
        name = trust_directory(version).removeprefix("trust-")
        _send_files(wire, ("trust", name), {name: (data,) for name, data in files.items()})
        (admitting or wire).ask("take_trust", name)


def send_signed(wire: Wire, bundle_id: str, files: Mapping[str, Iterable[bytes]]) -> None:
    """Send the signed list, its signatures, ``release.txt`` and the tables of the host's targets."""
    _send_files(wire, ("signed", bundle_id), files)


def _send_files(wire: Wire, request: Sequence[str], files: Mapping[str, Iterable[bytes]]) -> None:
    wire.begin(*request, str(len(files)))
    for name, pieces in sorted(files.items()):
        data = b"".join(pieces)
        wire.send(f"{name} {len(data)}\n".encode() + data)
    wire.reply()


def send_blobs(
    wire: Wire, bundle_id: str, outgoing: Iterable[OutgoingBlob], progress: Callable[[int], None] = lambda _: None
) -> None:
    """Send blobs as streams without a round trip for each. The far end hashes them while more of them come.

    Raises:
        HostRefused: Bytes arrived that are not the blob they were called.
        TransferFailed: The connection was cut; ask for :func:`blobs` and go on from there.
    """
    left = iter(outgoing)
    while batch := list(itertools.islice(left, BATCH_BLOBS)):
        _send_batch(wire, bundle_id, batch, progress)


def _send_batch(wire: Wire, bundle_id: str, batch: Sequence[OutgoingBlob], progress: Callable[[int], None]) -> None:
    wire.begin("receive", bundle_id, str(len(batch)))
    for piece in joined(_stream(_together(batch) if wire.tar else ([one] for one in batch), progress)):
        wire.send(piece)
    bad = wire.reply()
    if bad:
        raise HostRefused(
            f"{wire.label}: {len(bad)} blobs arrived damaged, the first: {bad[0]}",
            hint="a rerun sends them again; if it happens again, look at memory and disk of that host",
        )


def _together(batch: Iterable[OutgoingBlob]) -> Iterator[list[OutgoingBlob]]:
    """Yield the blobs in order, those together that go in one tar archive."""
    group: list[OutgoingBlob] = []
    size = 0
    for blob in batch:
        alone = blob.offset > 0 or blob.size > _LARGE
        if group and (alone or len(group) == _TAR_BLOBS or size + blob.size > _TAR_SIZE):
            yield group
            group, size = [], 0
        if alone:
            yield [blob]
        else:
            group.append(blob)
            size += blob.size
    if group:
        yield group


def _stream(groups: Iterable[Sequence[OutgoingBlob]], progress: Callable[[int], None]) -> Iterator[bytes]:
    for group in groups:
        if len(group) == 1:
            (blob,) = group
            yield f"{blob.digest} {blob.size} {blob.offset}\n".encode()
            yield from _pieces(blob, progress)
        else:
            entries = [_entry(blob, progress) for blob in group]
            yield f"tar {len(group)} {segment_size(entries) + len(END)}\n".encode()
            yield from segment(entries)
            yield END


def _entry(blob: OutgoingBlob, progress: Callable[[int], None]) -> TarEntry:
    return TarEntry(path=blob.digest, size=blob.size, read=lambda: _pieces(blob, progress))


def _pieces(blob: OutgoingBlob, progress: Callable[[int], None]) -> Iterator[bytes]:
    left = blob.size - blob.offset
    for piece in blob.pieces:
        left -= len(piece)
        yield piece
        progress(len(piece))
    if left:
        raise FormatError(f"blob {blob.digest} is {-left} bytes longer than {blob.size}")


def admit(wire: Wire, bundle_id: str, targets: Sequence[str]) -> None:
    """Have the host check a pushed bundle by its own trust, put the release together and prove every file.

    Raises:
        BundlerError: With the rule by which the host refused.
    """
    wire.ask("admit", bundle_id, *targets)

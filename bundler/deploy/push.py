"""What goes from a staged bundle to a host: signed files, and missing blobs in the order in which the volumes lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bundler.bundle.layout import RELEASE_TXT, SIGNATURE, SUMS
from bundler.bundle.reader import Bundle
from bundler.files import chunks
from bundler.model.tables import table_names
from bundler.repohost.intake import OutgoingBlob


def outgoing(bundle: Bundle, digests: Iterable[str], partial: Mapping[str, int]) -> Iterator[OutgoingBlob]:
    """Yield the blobs ``digests``, each from where an earlier transfer was cut.

    Raises:
        IntegrityError: While the pieces of a blob are read: the bundle does not hold what it says.
    """
    places = {digest: bundle.place(digest) for digest in digests}
    for digest, (_, blob) in sorted(places.items(), key=lambda item: (item[1][0].name, item[1][1].offset)):
        offset = partial.get(digest, 0)
        if offset > blob.size:
            offset = 0
        pieces = skip(bundle.stream_blob(digest), offset)
        yield OutgoingBlob(digest=digest, size=blob.size, offset=offset, pieces=pieces)


def signed_files(bundle: Bundle, targets: Iterable[str]) -> dict[str, Iterator[bytes]]:
    """Return what a host checks and assembles a release by: the list, its signatures, the tables of its targets."""
    names = {SUMS, RELEASE_TXT, *(name for target in targets for name in table_names(target))}
    names |= {name for name in bundle.medium.names() if SIGNATURE.fullmatch(name)}
    return {name: _read(bundle, name) for name in sorted(names)}


def _read(bundle: Bundle, name: str) -> Iterator[bytes]:
    with bundle.medium.open(name) as file:
        yield from chunks(file)


def skip(pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield ``pieces`` without their first ``count`` bytes."""
    for piece in pieces:
        if count >= len(piece):
            count -= len(piece)
            continue
        yield piece[count:]
        count = 0

"""Read tar segments back, strictly: only what :mod:`bundler.archive.tar` writes is accepted.

:mod:`tarfile` takes damage in the middle of an archive for its end and guesses at much; only its header codec is
used here.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator

from bundler.archive.tar import BLOCK, Kind, TarEntry
from bundler.errors import IntegrityError

#: Longest name that is read (bytes): PATH_MAX.
MAX_NAME = 4096
_KINDS: dict[bytes, Kind] = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link"}
_LONG = {tarfile.GNUTYPE_LONGNAME: "name", tarfile.GNUTYPE_LONGLINK: "linkname"}
_ZERO = bytes(BLOCK)


class _Stream:
    """Exact reads from pieces of any length."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")

    def upto(self, size: int) -> Iterator[bytes]:
        """Yield the next ``size`` bytes, or what there is of them."""
        while size:
            if not self._piece:
                self._piece = memoryview(next(self._pieces, b""))
                if not self._piece:
                    return
            part, self._piece = self._piece[:size], self._piece[size:]
            size -= len(part)
            yield bytes(part)

    def exactly(self, size: int) -> Iterator[bytes]:
        """Yield the next ``size`` bytes.

        Raises:
            IntegrityError: There are fewer.
        """
        left = size
        for part in self.upto(size):
            left -= len(part)
            yield part
        if left:
            raise IntegrityError("the tar segment is truncated")


def members(pieces: Iterable[bytes]) -> Iterator[tuple[TarEntry, Iterator[bytes]]]:
    """Yield each member of a segment with its content; what is not read of a content is skipped.

    All pieces are consumed in the end, so that checks at their source run. Names come as they stand: see
    :func:`bundler.archive.extract.checked_path`.

    Raises:
        IntegrityError: The segment is damaged, truncated, or has members of another kind.
    """
    stream = _Stream(pieces)
    while info := _next_header(stream):
        entry = TarEntry(
            path=info.name.rstrip("/") if info.isdir() else info.name,
            kind=_KINDS[info.type],
            size=info.size if info.isreg() else 0,
            executable=info.isreg() and bool(info.mode & 0o100),
            target=info.linkname if info.issym() else "",
        )
        content = stream.exactly(entry.size)
        yield entry, content
        for _ in content:
            pass
        b"".join(stream.exactly(-entry.size % BLOCK))


def _next_header(stream: _Stream) -> tarfile.TarInfo | None:
    """Return the next member's header with its long names put in, or None at the end of the segment."""
    long: dict[str, str] = {}
    while True:
        block = b"".join(stream.upto(BLOCK))
        if not long and (not block or block == _ZERO):
            _expect_zeros(stream)
            return None
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise IntegrityError(f"the tar segment is damaged: {error}") from error
        if info.type in _KINDS:
            info.name = long.get("name", info.name)
            info.linkname = long.get("linkname", info.linkname)
            return info
        if info.type not in _LONG or info.size > MAX_NAME:
            raise IntegrityError(f"the tar segment has a member {info.name!r} of a kind that is not accepted")
        raw = b"".join(stream.exactly(info.size + (-info.size % BLOCK)))[: info.size]
        long[_LONG[info.type]] = raw.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _expect_zeros(stream: _Stream) -> None:
    while block := b"".join(stream.upto(1 << 16)):
        if block.count(0) != len(block):
            raise IntegrityError("bytes follow the end of the tar segment")

"""A file that gathers the contents of many small ones, so that a wheel costs one file on disk and not thousands."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Slice:
    """``size`` bytes at ``offset`` of a spool, their SHA-256, and whether they begin as an ELF file does."""

    offset: int
    size: int
    sha256: bytes
    native: bool = False


def pieces(source: IO[bytes], size: int = _PIECE) -> Iterator[bytes]:
    """Yield the rest of ``source``."""
    while piece := source.read(size):
        yield piece


class Spool:
    """An append-only file at ``path``, which is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("x+b")
        self._end = 0

    def close(self) -> None:
        """Close the file; its readers end with it."""
        self._file.close()

    def append(self, content: Iterable[bytes]) -> Slice:
        """Add the bytes of one file."""
        digest = hashlib.sha256()
        start, head = self._end, b""
        for piece in content:
            head = head or piece[:4]
            digest.update(piece)
            self._file.write(piece)
            self._end += len(piece)
        return Slice(offset=start, size=self._end - start, sha256=digest.digest(), native=head.startswith(b"\x7fELF"))

    def flush(self) -> None:
        """Let other readers of the path see everything."""
        self._file.flush()

    def reader(self, offset: int, size: int) -> Callable[[], Iterator[bytes]]:
        """Return what reads ``size`` bytes at ``offset``; call :meth:`flush` before it is used."""
        return lambda: _read(self._file.fileno(), offset, size)


def _read(handle: int, offset: int, size: int) -> Iterator[bytes]:
    end = offset + size
    while offset < end:
        piece = os.pread(handle, min(_PIECE, end - offset), offset)
        if not piece:
            return
        offset += len(piece)
        yield piece

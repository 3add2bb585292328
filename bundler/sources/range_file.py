"""A remote file that zipfile can read: seekable, fetched in few large ranges."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

from bundler.sources.http import Part

#: A read past what is here brings at least this much.
READ_AHEAD = 16 << 10
#: First request: the end of central directory, for most wheels the whole of it, and the metadata before it.
TAIL = 32 << 10


class RangesRefused(Exception):
    """The server has no ranges, or changed the file between two of them."""


class RangeFile(io.RawIOBase):
    """Read-only. ``fetch`` returns bytes from start to before stop, or None where ranges are not to be had."""

    def __init__(self, fetch: Callable[[int, int | None], Part | None]) -> None:
        super().__init__()
        self._fetch = fetch
        tail = self._get(-TAIL, None)
        self.size = tail.total
        self._blocks = [(self.size - len(tail.data), tail.data)]
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, as every file does."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError("seek before the start of the file")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes, fetching what is not here."""
        start = self._position
        stop = self.size if size < 0 else min(self.size, start + size)
        if stop <= start:
            return b""
        data = self._held(start, stop)
        if data is None:
            self.prefetch(start, max(stop, start + READ_AHEAD))
            data = self._held(start, stop)
        if data is None:
            raise RangesRefused
        self._position = stop
        return data

    def prefetch(self, start: int, stop: int) -> None:
        """Make the bytes from ``start`` to before ``stop`` available in one request."""
        stop = min(stop, self.size)
        if self._held(start, stop) is not None:
            return
        for first, data in self._blocks:
            # What is here already of the end need not come again.
            if start < first < stop <= first + len(data):
                part = self._get(start, first)
                self._blocks.append((start, part.data + data))
                return
        self._blocks.append((start, self._get(start, stop).data))

    def _held(self, start: int, stop: int) -> bytes | None:
        for first, data in self._blocks:
            if first <= start and stop <= first + len(data):
                return data[start - first : stop - first]
        return None

    def _get(self, start: int, stop: int | None) -> Part:
        part = self._fetch(start, stop)
        if part is None or (stop is not None and part.total != self.size):
            raise RangesRefused
        return part

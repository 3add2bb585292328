"""Bytes on their way: lines out of a stream, the last of a stream, small pieces joined to large ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from bundler.errors import TransferFailed

#: Most bytes asked for at a time, and the size that pieces are joined to.
PIECE = 256 * 1024
#: Longest line that a far end may say, how much it may say that nobody waits for, and how much of its stderr is kept.
LINE_LIMIT = 1024 * 1024
REST_LIMIT = 64 * 1024 * 1024
TAIL_LIMIT = 8 * 1024


class Lines:
    """Lines and blocks of a stream. ``more`` returns its next bytes, at most :data:`PIECE`; empty at its end."""

    def __init__(self, label: str, more: Callable[[], bytes]) -> None:
        self._label = label
        self._more = more
        self._kept = bytearray()

    def line(self) -> bytes:
        """Return the next line without its newline.

        Raises:
            TransferFailed: The stream ended before a newline, or there is none in :data:`LINE_LIMIT` bytes.
        """
        searched = 0
        while (end := self._kept.find(b"\n", searched)) < 0:
            searched = len(self._kept)
            if searched > LINE_LIMIT:
                raise TransferFailed(f"{self._label}: said a line of more than {LINE_LIMIT} bytes")
            if not (data := self._more()):
                raise TransferFailed(f"{self._label}: ended in the middle of an answer")
            self._kept += data
        line = bytes(self._kept[:end])
        del self._kept[: end + 1]
        return line

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, at least one; empty at the end."""
        if not self._kept:
            data = self._more()
            if len(data) <= size:
                return data
            self._kept += data
        block = bytes(self._kept[:size])
        del self._kept[:size]
        return block

    def drop(self) -> None:
        """Read to the end and forget it.

        Raises:
            TransferFailed: It does not come within :data:`REST_LIMIT` bytes.
        """
        left = REST_LIMIT
        self._kept.clear()
        while data := self._more():
            left -= len(data)
            if left < 0:
                raise TransferFailed(f"{self._label}: goes on for more than {REST_LIMIT} bytes that nobody waits for")


class Tail:
    """The last bytes of a stream, taken by one thread and read by another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept = b""

    def add(self, data: bytes) -> None:
        """Take more of the stream."""
        with self._lock:
            self._kept = (self._kept + data)[-TAIL_LIMIT:]

    @property
    def text(self) -> str:
        """Return it as text, without white space around it."""
        with self._lock:
            return self._kept.decode("utf-8", "replace").strip()


def joined(pieces: Iterable[bytes], size: int = PIECE) -> Iterator[bytes]:
    """Yield the same bytes in pieces of at least ``size``, but for the last: each send costs a packet.

    A piece that is large enough already goes through without a copy.
    """
    waiting: list[bytes] = []
    held = 0
    for piece in pieces:
        waiting.append(piece)
        held += len(piece)
        if held >= size:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, held = [], 0
    if held:
        yield b"".join(waiting)

"""Split a file of concatenated zstd frames without decoding it (RFC 8878, 3.1.1)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from bundler.archive.frames import MAX_HEADER, content_size
from bundler.errors import IntegrityError
from bundler.files import CHUNK

#: A block is at most so long (3.1.1.2.3), or is a byte to be repeated.
_MAX_BLOCK = 1 << 17
_BLOCK_HEADER = 3
_RLE, _RESERVED = 1, 3
#: What a processor's cache holds while it is hashed twice.
_BUFFER = 1 << 18
#: A venv has one or two layers per package.
MAX_FRAMES = 20_000


@dataclass(frozen=True, kw_only=True)
class WalkedFrame:
    """A frame: where it lies in its file, and the SHA-256 of its bytes as they lie there."""

    offset: int
    length: int
    sha256: str


def walk_frames(file: IO[bytes]) -> tuple[tuple[WalkedFrame, ...], str]:
    """Return the frames of an open file, and the SHA-256 of all of it. Every byte is read once and none is decoded.

    Raises:
        IntegrityError: It is not frames of known size from the first byte to the last.
    """
    handle = file.fileno()
    end = os.fstat(handle).st_size
    whole = hashlib.sha256()
    buffer = memoryview(bytearray(_BUFFER))
    frames: list[WalkedFrame] = []
    offset = 0
    while offset < end:
        length = _frame_length(handle, offset)
        own = hashlib.sha256()
        for piece in _read_into(buffer, handle, offset, length):
            whole.update(piece)
            own.update(piece)
        frames.append(WalkedFrame(offset=offset, length=length, sha256=own.hexdigest()))
        if len(frames) > MAX_FRAMES:
            raise IntegrityError(f"the archive has more than {MAX_FRAMES} frames")
        offset += length
    return tuple(frames), whole.hexdigest()


def read_range(handle: int, offset: int, length: int) -> Iterator[bytes]:
    """Yield ``length`` bytes from ``offset`` on; threads may share ``handle``.

    Raises:
        IntegrityError: The file ends before.
    """
    end = offset + length
    while offset < end:
        piece = os.pread(handle, min(CHUNK, end - offset), offset)
        if not piece:
            raise _truncated()
        offset += len(piece)
        yield piece


def _read_into(buffer: memoryview, handle: int, offset: int, length: int) -> Iterator[memoryview]:
    """Do as :func:`read_range` does, in pieces that are overwritten by the next one."""
    end = offset + length
    while offset < end:
        read = os.preadv(handle, [buffer[: end - offset]], offset)
        if not read:
            raise _truncated()
        offset += read
        yield buffer[:read]


def _frame_length(handle: int, start: int) -> int:
    head = os.pread(handle, MAX_HEADER, start)
    content_size(head)
    descriptor = head[4]
    single_segment = descriptor >> 5 & 1
    place = start + 5 + (1 - single_segment) + (1 << (descriptor >> 6))
    last = False
    while not last:
        last, length = _block(os.pread(handle, _BLOCK_HEADER, place))
        place += _BLOCK_HEADER + length
    return place + (4 if descriptor >> 2 & 1 else 0) - start


def _block(header: bytes) -> tuple[bool, int]:
    """Return whether a block is the frame's last, and how many bytes follow its header (3.1.1.2)."""
    if len(header) < _BLOCK_HEADER:
        raise _truncated()
    value = int.from_bytes(header, "little")
    kind, length = value >> 1 & 3, value >> 3
    if kind == _RESERVED or length > _MAX_BLOCK:
        raise IntegrityError("the archive is damaged: a zstd block has no valid header")
    return bool(value & 1), 1 if kind == _RLE else length


def _truncated() -> IntegrityError:
    return IntegrityError("the archive is truncated: it ends inside a frame")

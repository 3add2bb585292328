"""One zstd frame for one blob: the decoded size in its header, a checksum at its end (RFC 8878).

The decoder is the standard library's (PEP 784) or its backport: the air-gapped half carries it for every Python, and
it is a tenth of the size of a whole binding. It accepts a truncated stream silently; what is here does not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any, cast

from bundler.errors import IntegrityError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Frames that want more memory than this window are refused (bytes).
MAX_WINDOW = 1 << 27
OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 27}
#: What reading from :func:`open_frames` raises where the frames are damaged or end too early.
DECODE_ERRORS = (zstd.ZstdError, EOFError)
#: Most bytes that are decoded in one step: what a processor's cache holds until they are written.
_STEP = 1 << 18
_GATHER = 1 << 18
_MAGIC = b"\x28\xb5\x2f\xfd"
#: Longest frame header (RFC 8878, 3.1.1.1).
MAX_HEADER = 18


def gather(pieces: Iterable[bytes], size: int = _GATHER) -> Iterator[bytes]:
    """Yield the same bytes in pieces of at least ``size`` bytes, but for the last."""
    waiting: list[bytes] = []
    length = 0
    for piece in pieces:
        waiting.append(piece)
        length += len(piece)
        if length >= size:
            yield b"".join(waiting)
            waiting, length = [], 0
    if waiting:
        yield b"".join(waiting)


def content_size(head: bytes) -> int:
    """Return the decoded size that a frame's header promises; ``head`` holds its first :data:`MAX_HEADER` bytes.

    Raises:
        IntegrityError: It is no zstd frame, does not tell its size, or wants too large a window.
    """
    if not head.startswith(_MAGIC):
        raise IntegrityError("this is no zstd frame")
    try:
        size, window = _read_header(head)
    except IndexError as error:
        raise IntegrityError("the zstd frame's header is truncated") from error
    if window > MAX_WINDOW:
        raise IntegrityError(f"the zstd frame wants a window of {window} bytes")
    return size


def _read_header(head: bytes) -> tuple[int, int]:
    """Return decoded size and window of a frame header (RFC 8878, 3.1.1.1); IndexError where it is cut short."""
    descriptor = head[4]
    size_flag, single_segment = descriptor >> 6, descriptor >> 5 & 1
    if descriptor & 0b1000:
        raise IntegrityError("the zstd frame's header is damaged: a reserved bit is set")
    if descriptor & 0b11:
        raise IntegrityError("the zstd frame wants a dictionary")
    if not size_flag and not single_segment:
        raise IntegrityError("the zstd frame does not tell its size")
    place = 5 if single_segment else 6
    length = 1 << size_flag
    if len(head) < place + length:
        raise IndexError(place)
    size = int.from_bytes(head[place : place + length], "little") + (256 if length == _OFFSET_LENGTH else 0)
    return size, size if single_segment else _window(head[5])


#: A size of two bytes counts from 256 on.
_OFFSET_LENGTH = 2


def _window(descriptor: int) -> int:
    base = 1 << (10 + (descriptor >> 3))
    return base + (base >> 3) * (descriptor & 7)


def decompress_frame(source: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the ``size`` bytes of the one frame that ``source`` holds, in bounded pieces.

    What was yielded counts only after the iterator has ended: damage may be found last.

    Raises:
        IntegrityError: The frame is truncated or damaged, decodes to another size, or more bytes follow it.
    """
    stream = zstd.ZstdDecompressor(options=OPTIONS)
    seen = 0
    for packed in _checked_head(source, size):
        for piece in _decoded(stream, packed):
            seen += len(piece)
            if seen > size:
                raise IntegrityError(f"the zstd frame decodes to more than {size} bytes")
            yield piece
    if not stream.eof or seen != size:
        raise IntegrityError(f"the zstd frame is truncated: {seen} of {size} bytes")


def _checked_head(source: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield ``source`` again once its first bytes have promised ``size``."""
    pieces = gather(source)
    head = next(pieces, b"")
    promised = content_size(head[:MAX_HEADER])
    if promised != size:
        raise IntegrityError(f"the zstd frame promises {promised} bytes instead of {size}")
    yield head
    yield from pieces


def _decoded(stream: zstd.ZstdDecompressor, packed: bytes) -> Iterator[bytes]:
    """Yield what ``packed`` decodes to, never more than :data:`_STEP` bytes at a time."""
    if stream.eof:
        raise IntegrityError("bytes follow the zstd frame")
    try:
        while True:
            if piece := stream.decompress(packed, _STEP):
                yield piece
            packed = b""
            if _waits(stream):
                break
    except zstd.ZstdError as error:
        raise IntegrityError(f"the zstd frame is damaged: {error}") from error
    if stream.unused_data:
        raise IntegrityError("bytes follow the zstd frame")


def _waits(stream: zstd.ZstdDecompressor) -> bool:
    """Return whether ``stream`` can give nothing more from what it has."""
    return stream.eof or stream.needs_input


def open_frames(source: IO[bytes]) -> IO[bytes]:
    """Return a file of what all frames of ``source`` decode to; reading raises :data:`DECODE_ERRORS` on damage.

    Closing it leaves ``source`` open.
    """
    return cast("IO[bytes]", zstd.ZstdFile(cast("Any", source), "rb", options=OPTIONS))

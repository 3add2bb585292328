"""One zstd frame for one blob: the decoded size in its header, a checksum at its end (RFC 8878).

The library accepts a truncated stream silently and decodes whatever a header promises; what is here does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import zstandard

from bundler.errors import IntegrityError

#: Level of layers: 70 MB/s a core, and a quarter smaller than level 3.
LEVEL = 9
#: Frames that want more memory than this window are refused (bytes).
MAX_WINDOW = 1 << 27
#: Most bytes of a frame that are decoded in one step: a block takes 4 bytes at least and gives 128 KiB at most,
#: so that a hostile frame costs 32 MiB before its size is checked.
_STEP = 1 << 10
_GATHER = 1 << 18
_MAGIC = zstandard.FRAME_HEADER
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


def compress_frame(source: Iterable[bytes], size: int, level: int = LEVEL) -> Iterator[bytes]:
    """Yield one frame of the ``size`` bytes that ``source`` gives, in pieces of any length.

    The result depends on the bytes, the level and the library's version only: a frame is made by one thread, and
    several frames at a time fill the processors.

    Raises:
        IntegrityError: ``source`` gives more or fewer bytes than ``size``.
    """
    engine = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)
    stream = engine.compressobj(size=size)
    seen = 0
    for piece in gather(source):
        seen += len(piece)
        if seen > size:
            break
        if packed := stream.compress(piece):
            yield packed
    if seen != size:
        raise IntegrityError(f"a frame of {size} bytes was promised, {'more' if seen > size else seen} came")
    yield stream.flush()


def content_size(head: bytes) -> int:
    """Return the decoded size that a frame's header promises; ``head`` holds its first :data:`MAX_HEADER` bytes.

    Raises:
        IntegrityError: It is no zstd frame, does not tell its size, or wants too large a window.
    """
    if not head.startswith(_MAGIC):
        raise IntegrityError("this is no zstd frame")
    try:
        header = zstandard.get_frame_parameters(head)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"the zstd frame's header is damaged: {error}") from error
    if header.content_size in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR):
        raise IntegrityError("the zstd frame does not tell its size")
    if header.window_size > MAX_WINDOW:
        raise IntegrityError(f"the zstd frame wants a window of {header.window_size} bytes")
    if header.dict_id:
        raise IntegrityError("the zstd frame wants a dictionary")
    return int(header.content_size)


def decompress_frame(source: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the ``size`` bytes of the one frame that ``source`` holds, in bounded pieces.

    What was yielded counts only after the iterator has ended: damage may be found last.

    Raises:
        IntegrityError: The frame is truncated or damaged, decodes to another size, or more bytes follow it.
    """
    stream = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
    seen = 0
    for step in _steps(_checked_head(source, size)):
        if stream.eof:
            raise IntegrityError("bytes follow the zstd frame")
        try:
            piece = stream.decompress(step)
        except zstandard.ZstdError as error:
            raise IntegrityError(f"the zstd frame is damaged: {error}") from error
        seen += len(piece)
        if seen > size:
            raise IntegrityError(f"the zstd frame decodes to more than {size} bytes")
        if stream.unused_data:
            raise IntegrityError("bytes follow the zstd frame")
        if piece:
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


def _steps(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), _STEP):
            yield bytes(view[start : start + _STEP])

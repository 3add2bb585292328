"""Make zstd frames: only the connected half does.

The library is pinned, so that the same bytes give the same frame whatever Python runs us.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import zstandard

from bundler.archive.frames import gather
from bundler.errors import IntegrityError

#: Level of layers: 70 MB/s a core, and a quarter smaller than level 3.
LEVEL = 9


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

"""One zstd frame per blob."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bundler.archive.compress import compress_frame
from bundler.archive.frames import MAX_WINDOW, content_size, decompress_frame
from bundler.errors import IntegrityError

PIECES = st.lists(st.binary(max_size=2000), max_size=20)


def _pack(*pieces: bytes, level: int = 9) -> bytes:
    return b"".join(compress_frame(pieces, sum(map(len, pieces)), level))


def _text(size: int) -> bytes:
    words = [b"nova", b"glance", b"import os\n", b"    return self\n", b"0x1f"]
    return b"".join(random.Random(1).choices(words, k=size // 5))


@given(PIECES)
def test_a_frame_decodes_to_what_went_in(pieces: list[bytes]) -> None:
    """What is packed comes back, whatever pieces it came in."""
    data = b"".join(pieces)

    assert b"".join(decompress_frame([_pack(*pieces)], len(data))) == data


@given(PIECES, st.integers(1, 50))
def test_a_frame_decodes_from_any_pieces(pieces: list[bytes], step: int) -> None:
    """How the packed bytes are cut when they are read makes no difference."""
    data, frame = b"".join(pieces), _pack(*pieces)
    cut = [frame[start : start + step] for start in range(0, len(frame), step)]

    assert b"".join(decompress_frame(cut, len(data))) == data


@pytest.mark.parametrize("step", [1, 511, 70_000, 1 << 18, 1 << 30])
def test_the_bytes_do_not_depend_on_how_the_source_is_cut(step: int) -> None:
    """The same content gives the same frame however it is handed over."""
    data = _text(700_000)
    cut = [data[start : start + step] for start in range(0, len(data), step)]

    assert _pack(*cut) == _pack(data)


def test_the_header_tells_the_size_and_the_frame_ends_with_a_checksum() -> None:
    """A reader knows the size beforehand, and stock zstd can check the content."""
    frame = _pack(b"x" * 5000)
    parameters = zstandard.get_frame_parameters(frame)

    assert (parameters.content_size, parameters.has_checksum) == (5000, True)
    assert content_size(frame[:18]) == 5000


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_stock_zstd_decodes_concatenated_frames() -> None:
    """Frames, one after the other, are one stream to the zstd program."""
    both = _pack(b"one ") + _pack(b"two")

    assert subprocess.run(["zstd", "-dc"], input=both, capture_output=True, check=True).stdout == b"one two"


@pytest.mark.parametrize("promised", [0, 9, 11])
def test_a_source_of_another_size_is_refused(promised: int) -> None:
    """A file that changed while it was read does not become a frame."""
    with pytest.raises(IntegrityError, match=f"{promised} bytes was promised"):
        list(compress_frame([b"0123456789"], promised))


def test_every_truncation_is_refused() -> None:
    """A frame cut at any byte is refused: the library itself would accept it silently."""
    frame = _pack(_text(3000))

    for length in range(len(frame)):
        with pytest.raises(IntegrityError):
            list(decompress_frame([frame[:length]], 3000))


@pytest.mark.parametrize("extra", [b"\0", b"x" * 5000, _pack(b""), b"\x50\x2a\x4d\x18\0\0\0\0"])
@pytest.mark.parametrize("together", [True, False])
def test_bytes_after_the_frame_are_refused(extra: bytes, *, together: bool) -> None:
    """Nothing may follow a frame, not even an empty or a skippable one."""
    frame = _pack(b"data" * 100_000)
    source = [frame + extra] if together else [frame, extra]

    with pytest.raises(IntegrityError, match="follow"):
        list(decompress_frame(source, 400_000))


@pytest.mark.parametrize("size", [0, 99, 101])
def test_a_frame_of_another_size_is_refused_before_it_is_decoded(size: int) -> None:
    """The size in the header must be the one that was signed."""
    with pytest.raises(IntegrityError, match="promises 100 bytes"):
        next(decompress_frame([_pack(b"x" * 100)], size))


@pytest.mark.parametrize("junk", [b"", b"\x28", b"not zstd at all", b"\x50\x2a\x4d\x18\0\0\0\0"])
def test_what_is_no_frame_is_refused(junk: bytes) -> None:
    """Empty input, text and skippable frames are no frames of ours."""
    with pytest.raises(IntegrityError):
        list(decompress_frame([junk], 0))


def test_a_flipped_bit_is_refused() -> None:
    """Damage anywhere in the frame is found."""
    frame = _pack(_text(2000))
    for position in range(4, len(frame)):
        damaged = bytearray(frame)
        damaged[position] ^= 0x10
        with pytest.raises(IntegrityError):
            list(decompress_frame([bytes(damaged)], 2000))


def test_a_frame_without_a_size_is_refused() -> None:
    """A frame that does not promise a size cannot be bounded."""
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100)

    with pytest.raises(IntegrityError, match="does not tell its size"):
        content_size(frame)


def test_a_frame_with_a_huge_window_is_refused() -> None:
    """Memory is bounded by the window, and that by us."""
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=1 << 30)
    head = stream.compress(b"x") + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    with pytest.raises(IntegrityError, match=f"window of {2 * MAX_WINDOW}"):
        content_size(head)


def test_a_bomb_is_stopped_early() -> None:
    """A frame that decodes to far more than it promises is stopped after a bounded excess."""
    frame = bytearray(_pack(bytes(500_000_000), level=1))
    assert frame[4] >> 6 == 2
    frame[6:10] = (100_000).to_bytes(4, "little")
    pieces: list[int] = []

    with pytest.raises(IntegrityError):
        pieces.extend(map(len, decompress_frame([bytes(frame)], 100_000)))
    assert sum(pieces) <= 100_000

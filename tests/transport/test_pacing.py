"""How fast, how often, and in what pieces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import TransferFailed
from bundler.transport.buffers import PIECE, Lines, Tail, joined
from bundler.transport.limiter import Limiter
from bundler.transport.quoting import far_command
from bundler.transport.retry import delays


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def read(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_limit_is_kept() -> None:
    """Sending a hundred times a tenth of the rate takes ten seconds."""
    time = Time()
    limiter = Limiter(1000, now=time.read, pause=time.pause)

    for _ in range(101):
        limiter.take(100)

    assert time.now == pytest.approx(110)


def test_idle_time_is_not_saved_up() -> None:
    """After a break the rate is what it was, without a burst."""
    time = Time()
    limiter = Limiter(1000, now=time.read, pause=time.pause)
    limiter.take(1000)
    time.now += 60

    limiter.take(1000)
    limiter.take(1000)

    assert time.pauses == [1.0]


def test_turns_go_in_order_of_asking() -> None:
    """Who asks while another has its turn waits for that turn only."""
    pauses: list[float] = []
    limiter = Limiter(1000, now=lambda: 0.0, pause=pauses.append)

    for size in (1000, 10, 1000):
        limiter.take(size)

    assert pauses == [pytest.approx(1.0), pytest.approx(1.01)]


def test_no_limit() -> None:
    """A rate of 0 never waits."""
    pauses: list[float] = []

    Limiter(0, pause=pauses.append).take(10**12)

    assert pauses == []


def test_delays_double_up_to_half_a_minute() -> None:
    """Without jitter the waits are half a second, doubled each time, at most thirty seconds."""
    assert delays(8, lambda: 0.0) == (0.5, 1, 2, 4, 8, 16, 30, 30)
    assert delays(0, lambda: 0.0) == ()


def test_jitter_takes_away_up_to_half() -> None:
    """Hosts that failed together come back at different times."""
    assert delays(2, lambda: 1.0) == (0.25, 0.5)


@given(st.lists(st.binary(max_size=20)), st.integers(min_value=1, max_value=30))
def test_joined_pieces_are_the_same_bytes(pieces: list[bytes], size: int) -> None:
    """Joining changes nothing but the sizes: all but the last are large enough."""
    out = list(joined(pieces, size))

    assert b"".join(out) == b"".join(pieces)
    assert all(len(piece) >= size for piece in out[:-1])
    assert all(out)


@given(st.lists(st.binary(min_size=1, max_size=9)), st.integers(min_value=1, max_value=5))
def test_lines_and_blocks_of_any_stream(pieces: list[bytes], size: int) -> None:
    """However a stream is cut into pieces, its lines and what follows come out whole."""
    stream: Iterator[bytes] = iter([*pieces, b"\n", b"rest"])
    whole = b"".join(pieces)
    lines = Lines("x", lambda: next(stream, b""))

    found = [lines.line() for _ in range(whole.count(b"\n") + 1)]
    rest = b"".join(iter(lambda: lines.read(size), b""))

    assert found == (whole + b"\n").split(b"\n")[:-1]
    assert rest == b"rest"


def test_line_at_the_end() -> None:
    """A stream that ends within a line has no such line."""
    pieces = iter([b"half"])

    with pytest.raises(TransferFailed, match="x: ended in the middle"):
        Lines("x", lambda: next(pieces, b"")).line()


def test_a_rest_that_never_ends() -> None:
    """Who goes on talking after all was said is not listened to for ever."""
    piece = bytes(PIECE)

    with pytest.raises(TransferFailed, match="x: goes on for more than"):
        Lines("x", lambda: piece).drop()


def test_tail_keeps_the_last() -> None:
    """Of a long stream only the end is kept."""
    tail = Tail()

    tail.add(b"x" * 100_000)
    tail.add(b"end\n")

    assert tail.text.endswith("end")
    assert len(tail.text) < 10_000


def test_no_nul_in_a_command() -> None:
    """An argument with a NUL cannot be sent, and is not cut short."""
    with pytest.raises(ValueError, match="NUL"):
        far_command(["a\0b"])

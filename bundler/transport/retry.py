"""How long to wait before the next try."""

from __future__ import annotations

from collections.abc import Callable

FIRST = 0.5
LONGEST = 30.0


def delays(retries: int, random: Callable[[], float]) -> tuple[float, ...]:
    """Return the seconds to wait before each of ``retries``: doubling up to half a minute.

    ``random`` (0 to 1) takes away up to half of each, so that hosts that failed together do not come back together.
    """
    return tuple(min(LONGEST, FIRST * 2**number) * (1 - random() / 2) for number in range(retries))

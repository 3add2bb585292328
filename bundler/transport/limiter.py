"""How fast all hosts together may be sent to."""

from __future__ import annotations

import threading
from collections.abc import Callable

from bundler import clock


class Limiter:
    """A rate in bytes a second, shared by every thread that sends; 0 is no limit.

    Who asks reserves the next free stretch of time and waits for its start. So turns go in order of asking, a
    host that sends small pieces is not starved, and time in which nobody sent is not saved up for a burst.
    """

    def __init__(
        self,
        bytes_per_second: int,
        *,
        now: Callable[[], float] = clock.stopwatch,
        pause: Callable[[float], None] = clock.pause,
    ) -> None:
        self._rate = bytes_per_second
        self._now = now
        self._pause = pause
        self._lock = threading.Lock()
        self._free = 0.0

    def take(self, size: int) -> None:
        """Wait until ``size`` bytes may be sent."""
        if not self._rate:
            return
        with self._lock:
            now = self._now()
            begin = max(now, self._free)
            self._free = begin + size / self._rate
        if begin > now:
            self._pause(begin - now)

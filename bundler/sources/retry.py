"""When to try again, and how long to wait: exponential back-off with jitter, bounded."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bundler.clock import pause
from bundler.errors import BundlerError

T = TypeVar("T")
_jitter = random.SystemRandom()


class Transient(Exception):
    """A failure that may pass. ``final`` is what to raise in the end; never leaves this package.

    ``progressed`` says that the attempt moved on before it failed: failures are then counted from one again.
    """

    def __init__(self, final: BundlerError, *, wait: float = 0.0, progressed: bool = False) -> None:
        super().__init__(final.message)
        self.final = final
        self.wait = wait
        self.progressed = progressed


@dataclass(frozen=True, kw_only=True)
class Retry:
    """``attempts`` in a row without progress; waits double from ``base`` to ``cap`` seconds, half of each random."""

    attempts: int = 6
    base: float = 0.5
    cap: float = 15.0
    longest_wait: float = 60.0

    def delay(self, failures: int, asked: float = 0.0) -> float:
        """Return the seconds to wait after ``failures``; at least what a server ``asked`` for, within reason."""
        step = min(self.cap, self.base * 2.0 ** (failures - 1))
        return max(step * _jitter.uniform(0.5, 1.0), min(asked, self.longest_wait))


def persist(retry: Retry, action: Callable[[], T], stop: threading.Event | None = None) -> T:
    """Run ``action`` until it succeeds, fails for good, ``retry`` is used up or ``stop`` is set.

    Raises:
        BundlerError: The last failure.
    """
    failures = 0
    while True:
        try:
            return action()
        except Transient as failure:  # noqa: PERF203  # the loop is the retry
            failures = 1 if failure.progressed else failures + 1
            if failures >= retry.attempts:
                raise failure.final from failure
            if _wait(retry.delay(failures, failure.wait), stop):
                raise failure.final from failure


def _wait(seconds: float, stop: threading.Event | None) -> bool:
    if stop is None:
        pause(seconds)
        return False
    return stop.wait(seconds)

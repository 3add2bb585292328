"""The one place that reads the clock."""

from __future__ import annotations

import datetime
import os
import time


def now() -> int:
    """Return the time in whole seconds since the epoch, or SOURCE_DATE_EPOCH where it is set.

    See https://reproducible-builds.org/specs/source-date-epoch/.
    """
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(fixed) if fixed.isdecimal() else int(time.time())


def iso(seconds: int) -> str:
    """Return ``seconds`` since the epoch as ``2026-11-20T12:00:00Z``."""
    moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def stopwatch() -> float:
    """Return a monotonic reading in seconds, for durations only."""
    return time.perf_counter()


def pause(seconds: float) -> None:
    """Wait ``seconds``: for back-off between retries."""
    time.sleep(seconds)

"""The one place that chooses an executor: a driver by name, from the entry points ``bundler.executors``."""

from __future__ import annotations

from bundler.entry_points import find_driver
from bundler.wheels.executor import Executor

NAMESPACE = "bundler.executors"


def choose_executor(name: str, slots: int) -> Executor:
    """Return a new executor of the driver called ``name`` for ``slots`` jobs at once; the caller closes it.

    Raises:
        UsageError: There is no such driver; the hint names those that are there.
    """
    made: Executor = find_driver(NAMESPACE, "executor", name)(slots)
    return made

"""Runs the tasks of a schedule on threads, and gathers every result and every failure.

Threads are daemons: when the user stops the run nothing waits for a compiler, and bubblewrap ends with its thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bundler.errors import BundlerError
from bundler.wheels.schedule import Schedule, Task

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[Result]):
    """``failures`` and ``given_up`` (because something they need failed) are by key, in the order they happened."""

    results: dict[str, Result]
    failures: dict[str, BundlerError]
    given_up: dict[str, str]


def run_schedule(schedule: Schedule, work: Callable[[Task], Result]) -> Outcome[Result]:
    """Run ``work`` for every task as the schedule allows; one failure does not stop the others.

    An exception that is no :class:`BundlerError` is a fault of ours and is raised at once.
    """
    ended: queue.SimpleQueue[tuple[str, Result | BaseException]] = queue.SimpleQueue()
    outcome: Outcome[Result] = Outcome(results={}, failures={}, given_up={})

    def one(task: Task) -> None:
        try:
            ended.put((task.key, work(task)))
        except BaseException as error:  # noqa: BLE001  # carried to the thread that waits, and raised there
            ended.put((task.key, error))

    while not schedule.finished:
        while (task := schedule.take()) is not None:
            threading.Thread(target=one, args=(task,), name=f"build-{task.key}", daemon=True).start()
        key, value = ended.get()
        if isinstance(value, BundlerError):
            outcome.failures[key] = value
            outcome.given_up.update(dict.fromkeys(schedule.failed(key), key))
        elif isinstance(value, BaseException):
            raise value
        else:
            outcome.results[key] = value
            schedule.succeeded(key)
    return outcome

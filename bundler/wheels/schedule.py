"""Decides which build starts next: a pure state machine fed with what ended.

Builds wait for the builds that they need. Of those that may start, the one with the longest chain of recorded
durations behind it goes first, as far as processors and memory allow; one that needs more than there is runs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from bundler.errors import BuildError

_Urgency: TypeAlias = Callable[[str], tuple[float, str]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One build: processors, memory in MiB, expected seconds.

    ``needs`` are the keys of builds that must end well before, ``after`` of those that must only be over: ended in
    whatever way, or given up.
    """

    key: str
    cpus: int = 1
    memory: int = 0
    seconds: float = 0.0
    needs: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()


class Schedule:
    """What is waiting, running and over."""

    def __init__(self, tasks: Iterable[Task], *, memory: int, slots: int) -> None:
        """Take in all tasks; ``memory`` (MiB) and ``slots`` (processors) are what may be taken at once.

        Raises:
            BuildError: Tasks need each other in a circle, or something that is no task.
        """
        self._tasks = {task.key: task for task in tasks}
        self._memory = memory
        self._slots = max(1, slots)
        self._ended: set[str] = set()
        self._lost: set[str] = set()
        self._running: dict[str, Task] = {}
        _refuse_circles(self._tasks)
        self._waiting = sorted(self._tasks, key=self._urgency())

    def _urgency(self) -> _Urgency:
        needed_by: dict[str, list[str]] = {key: [] for key in self._tasks}
        for task in self._tasks.values():
            for need in task.needs | task.after:
                needed_by[need].append(task.key)

        @cache
        def chain(key: str) -> float:
            return self._tasks[key].seconds + max((chain(other) for other in needed_by[key]), default=0.0)

        return lambda key: (-chain(key), key)

    @property
    def finished(self) -> bool:
        """Return whether nothing waits and nothing runs."""
        return not self._waiting and not self._running

    def take(self) -> Task | None:
        """Return a task to start now, counted as running from here on, or None."""
        for key in self._waiting:
            task = self._tasks[key]
            if self._may_start(task) and self._fits(task):
                self._waiting.remove(key)
                self._running[key] = task
                return task
        return None

    def _may_start(self, task: Task) -> bool:
        return task.needs <= self._ended and task.after <= self._ended | self._lost

    def _fits(self, task: Task) -> bool:
        running = self._running.values()
        cpus = sum(other.cpus for other in running) + task.cpus
        memory = sum(other.memory for other in running) + task.memory
        return not running or (cpus <= self._slots and memory <= self._memory)

    def succeeded(self, key: str) -> None:
        """Note that a running task ended well."""
        del self._running[key]
        self._ended.add(key)

    def failed(self, key: str) -> tuple[str, ...]:
        """Note that a running task failed; return the tasks that are given up because they need it."""
        del self._running[key]
        lost = {key}
        changed = True
        while changed:
            more = {other for other in self._waiting if self._tasks[other].needs & lost} - lost
            lost |= more
            changed = bool(more)
        given_up = tuple(sorted(lost - {key}))
        self._waiting = [other for other in self._waiting if other not in lost]
        self._lost |= lost
        return given_up


def _refuse_circles(tasks: dict[str, Task]) -> None:
    done: set[str] = set()
    while True:
        free = {key for key, task in tasks.items() if key not in done and task.needs | task.after <= done}
        if not free:
            break
        done |= free
    stuck = sorted(set(tasks) - done)
    if stuck:
        raise BuildError(
            f"builds need each other: {', '.join(stuck)}",
            hint="lock a wheel of one of them, for example by a wheel folder in the manifest",
        )

"""Which build starts next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import BuildError, WheelBuildFailed
from bundler.wheels.pool import run_schedule
from bundler.wheels.schedule import Schedule, Task


def task(key: str, *needs: str, memory: int = 1, seconds: float = 1) -> Task:
    return Task(key=key, memory=memory, seconds=seconds, needs=frozenset(needs))


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    count = draw(st.integers(1, 8))
    tasks = []
    for number in range(count):
        needs = draw(st.sets(st.integers(0, number - 1))) if number else set()
        memory, seconds = draw(st.integers(1, 12)), draw(st.floats(0, 100))
        tasks.append(task(str(number), *map(str, needs), memory=memory, seconds=seconds))
    return tasks


@given(graphs(), st.integers(1, 3), st.data())
def test_every_task_runs_once_after_what_it_needs_within_the_budget(
    tasks: list[Task], slots: int, data: st.DataObject
) -> None:
    """Whatever ends first: needs are over before a task starts, memory and slots hold, all tasks run."""
    schedule = Schedule(tasks, memory=10, slots=slots)
    running: dict[str, Task] = {}
    ended: list[str] = []
    while not schedule.finished:
        while (found := schedule.take()) is not None:
            assert found.needs <= set(ended)
            running[found.key] = found
        assert 1 <= len(running) <= slots
        assert len(running) == 1 or sum(one.memory for one in running.values()) <= 10
        key = data.draw(st.sampled_from(sorted(running)))
        del running[key]
        schedule.succeeded(key)
        ended.append(key)

    assert sorted(ended) == sorted(one.key for one in tasks)


def test_the_longest_chain_starts_first() -> None:
    """A short build that a long one waits for goes before a middling one."""
    schedule = Schedule(
        [task("middling", seconds=50), task("short", seconds=1), task("long", "short", seconds=100)],
        memory=10,
        slots=1,
    )
    first = schedule.take()

    assert first is not None
    assert first.key == "short"


def test_a_small_build_fills_the_room_that_a_large_one_leaves() -> None:
    """What does not fit now is passed over, not waited for."""
    schedule = Schedule(
        [task("a", memory=6, seconds=9), task("b", memory=6, seconds=8), task("c", memory=4)], memory=10, slots=4
    )
    taken = [found.key for found in (schedule.take(), schedule.take()) if found]

    assert taken == ["a", "c"]
    assert schedule.take() is None


def test_builds_that_need_each_other_are_refused_by_name() -> None:
    """A circle of build requirements is an error that names its members."""
    with pytest.raises(BuildError, match="need each other: a, b"):
        Schedule([task("a", "b"), task("b", "a"), task("c")], memory=1, slots=1)


def test_a_failure_stops_only_what_needs_it() -> None:
    """Two failures are both reported, their dependants given up, the rest is built."""

    def work(one: Task) -> str:
        if one.key in ("bad", "worse"):
            raise WheelBuildFailed(f"{one.key} failed")
        return one.key.upper()

    tasks = [task("bad"), task("worse"), task("good"), task("needs-bad", "bad"), task("far", "needs-bad")]
    outcome = run_schedule(Schedule(tasks, memory=9, slots=2), work)

    assert outcome.results == {"good": "GOOD"}
    assert set(outcome.failures) == {"bad", "worse"}
    assert outcome.given_up == {"needs-bad": "bad", "far": "bad"}


def test_a_fault_of_ours_is_raised_not_gathered() -> None:
    """An exception that is no BundlerError surfaces at once."""

    def work(_task: Task) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_schedule(Schedule([task("a")], memory=1, slots=1), work)

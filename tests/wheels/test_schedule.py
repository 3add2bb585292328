"""Which build starts next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import BuildError, WheelBuildFailed
from bundler.wheels.pool import run_schedule
from bundler.wheels.schedule import Schedule, Task


def task(
    key: str, *needs: str, cpus: int = 1, memory: int = 1, seconds: float = 1, after: frozenset[str] = frozenset()
) -> Task:
    return Task(key=key, cpus=cpus, memory=memory, seconds=seconds, needs=frozenset(needs), after=after)


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    count = draw(st.integers(1, 8))
    tasks = []
    for number in range(count):
        needs, after = (draw(st.sets(st.integers(0, number - 1))) if number else set() for _ in range(2))
        cpus, memory, seconds = draw(st.integers(1, 4)), draw(st.integers(1, 12)), draw(st.floats(0, 100))
        more = frozenset(map(str, after))
        tasks.append(task(str(number), *map(str, needs), cpus=cpus, memory=memory, seconds=seconds, after=more))
    return tasks


@given(graphs(), st.integers(1, 3), st.data())
def test_every_task_runs_once_after_what_it_needs_within_the_budget(
    tasks: list[Task], slots: int, data: st.DataObject
) -> None:
    """Whatever ends first: needs are over before a task starts, memory and processors hold, all tasks run."""
    schedule = Schedule(tasks, memory=10, slots=slots)
    running: dict[str, Task] = {}
    ended: list[str] = []
    while not schedule.finished:
        while (found := schedule.take()) is not None:
            assert found.needs | found.after <= set(ended)
            running[found.key] = found
        assert running
        assert len(running) == 1 or sum(one.memory for one in running.values()) <= 10
        assert len(running) == 1 or sum(one.cpus for one in running.values()) <= slots
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


def test_a_build_that_takes_all_processors_waits_until_they_are_free() -> None:
    """Two processors: what takes both neither joins another nor is joined."""
    schedule = Schedule([task("wide", cpus=2, seconds=9), task("a", seconds=1)], memory=10, slots=2)
    wide = schedule.take()
    beside = schedule.take()
    schedule.succeeded("wide")
    then = schedule.take()

    assert (wide and wide.key, beside, then and then.key) == ("wide", None, "a")


@pytest.mark.parametrize("well", [True, False])
def test_what_only_comes_after_starts_however_the_other_ended(well: bool) -> None:
    """A build that waits for another without needing it is not given up when that one fails."""
    schedule = Schedule(
        [task("native"), task("emulated", seconds=100, after=frozenset({"native"}))], memory=9, slots=2
    )
    first, nothing = schedule.take(), schedule.take()
    given_up = () if well else schedule.failed("native")
    if well:
        schedule.succeeded("native")
    then = schedule.take()

    assert (first and first.key, nothing, given_up, then and then.key) == ("native", None, (), "emulated")


def test_what_comes_after_a_build_that_was_given_up_starts_too() -> None:
    """Over is over: failed, or never begun because something it needs failed."""
    tasks = [task("bad"), task("native", "bad"), task("emulated", after=frozenset({"native"}))]
    schedule = Schedule(tasks, memory=9, slots=2)
    schedule.take()
    given_up = schedule.failed("bad")
    then = schedule.take()

    assert (given_up, then and then.key) == (("native",), "emulated")


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

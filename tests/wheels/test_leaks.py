"""What is said when builds could see more than they should."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from bundler.events import Event, Warned
from bundler.wheels.builds import _warn_of_leaks


@dataclass(frozen=True)
class Open:
    """An environment that leaves something open."""

    name: str
    leaks: tuple[str, ...]

    def describe(self) -> tuple[str, ...]:
        return self.leaks


def warnings(*environments: Open) -> list[Warned]:
    said: list[Event] = []
    by_target = dict(enumerate(environments))
    workshop: Any = SimpleNamespace(environment=by_target.__getitem__, emit=said.append)
    jobs: Any = [SimpleNamespace(target=target) for target in by_target]
    _warn_of_leaks([*jobs, *jobs], workshop)
    return [event for event in said if isinstance(event, Warned)]


def test_isolated_builds_are_not_talked_about() -> None:
    """Nothing is open: no warning."""
    assert warnings(Open("rootfs", ()), Open("container", ())) == []


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (["host"], "apt-get install bubblewrap"),
        (["host", "container"], "apt-get install bubblewrap"),
        (["container"], "page on build environments"),
    ],
)
def test_what_is_open_is_said_once_with_what_to_do(names: list[str], hint: str) -> None:
    """All of it in one line; for containers bubblewrap would be no help."""
    (warned,) = warnings(*(Open(name, ("network", f"of {name}")) for name in names))

    told = ", ".join(["network", *sorted(f"of {name}" for name in names)])
    assert warned.message == f"builds were not isolated from this host: {told}"
    assert hint in warned.hint

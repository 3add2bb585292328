"""Which releases retention lets go."""

from __future__ import annotations

import pytest

from bundler.deploy.retention import surplus
from bundler.model.site import Retention
from bundler.repohost.port import HostRelease, ReleaseState


def releases(**states: ReleaseState) -> list[HostRelease]:
    return [
        HostRelease(id=name, line="l", sequence=int(name[1:]), digest=name, targets=(), state=state)
        for name, state in states.items()
    ]


@pytest.mark.parametrize(
    ("keep", "pinned", "gone"),
    [
        (2, (), ("r1", "r2")),
        (2, ("r1",), ("r2",)),
        (1, (), ("r1", "r2", "r3")),
        (0, (), ("r1", "r2", "r3")),
        (9, (), ()),
    ],
)
def test_so_many_stay_beside_the_active_one(keep: int, pinned: tuple[str, ...], gone: tuple[str, ...]) -> None:
    """Retention keeps the newest, whatever is pinned, and always the previous release."""
    there = releases(r1="staged", r2="staged", r3="staged", r4="previous", r5="active")

    assert surplus(there, "l", Retention(keep=keep, pinned=pinned)) == gone


def test_other_lines_are_not_counted() -> None:
    """Several releases live side by side: each line has its own retention."""
    there = releases(r1="staged", r2="active")

    assert surplus(there, "other", Retention(keep=0)) == ()


def test_what_is_active_before_a_switch_counts_as_previous() -> None:
    """A plan knows what retention removes after the switch."""
    there = releases(r1="previous", r2="active", r3="staged")

    assert surplus(there, "l", Retention(keep=1), active="r3") == ("r1",)

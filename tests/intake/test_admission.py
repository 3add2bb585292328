"""What a site takes of what is well signed: the pure rules."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bundler.bundle.admission import Room, SiteView, admit, carried_part, carried_targets, check_room
from bundler.bundle.reader import open_bundle
from bundler.errors import BundlerError, SpaceError
from bundler.model.contents import Contents
from tests.bundles import DEBIAN, UBUNTU

SEQUENCE = 1795123456
OURS, OTHER = "ab" * 32, "cd" * 32
DAY = 86_400


@pytest.fixture
def contents(signed_bundle: Path) -> Contents:
    with open_bundle(signed_bundle) as opened:
        return opened.contents


def view(**changes: Any) -> SiteView:
    return SiteView(**{"targets": (DEBIAN,), "now": SEQUENCE, **changes})


REFUSED: dict[str, tuple[dict[str, Any], str, int]] = {
    "revoked": ({"revoked": frozenset({OURS})}, "BundleRevoked", 78),
    "other targets": ({"targets": ("rocky-9-x86_64",)}, "TargetRefused", 68),
    "same sequence, other content": ({"seen": (0, SEQUENCE, OTHER)}, "EquivocationRefused", 77),
    "a sequence that was seen before with other content": (
        {"digests": {(0, SEQUENCE): OTHER}}, "EquivocationRefused", 77,
    ),
    "older than seen": ({"seen": (0, SEQUENCE + 1, OTHER)}, "SequenceRefused", 76),
    "older epoch": ({"epoch": 1, "seen": (2, 1, OTHER)}, "SequenceRefused", 76),
    "below the floor of trust": ({"trust_floor": SEQUENCE + 1}, "SequenceRefused", 76),
    "below the floor of the site": ({"floor": SEQUENCE + 1}, "SequenceRefused", 76),
    "too old": ({"max_age_days": 5, "now": SEQUENCE + 7 * DAY}, "PolicyRefused", 72),
    "too old by what was seen, whatever the clock says": (
        {"max_age_days": 5, "now": 0, "time_floor": SEQUENCE + 7 * DAY}, "PolicyRefused", 72,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_each_rule_refuses_under_its_own_name(contents: Contents, what: str) -> None:
    """Every reason not to take a well-signed bundle has its rule, its exit code and a hint."""
    changes, rule, code = REFUSED[what]

    with pytest.raises(BundlerError) as caught:
        admit(contents, OURS, view(**changes))

    assert (caught.value.rule, caught.value.exit_code) == (rule, code)
    assert contents.id in caught.value.message
    assert caught.value.hint


ACCEPTED: dict[str, dict[str, Any]] = {
    "the first one": {},
    "the same one again": {"seen": (0, SEQUENCE, OURS)},
    "a newer one": {"seen": (0, SEQUENCE - 1, OTHER), "digests": {(0, SEQUENCE - 1): OTHER}},
    "a lower sequence of a higher epoch": {"epoch": 1, "seen": (0, SEQUENCE + 9, OTHER)},
    "exactly the floors": {"floor": SEQUENCE, "trust_floor": SEQUENCE},
    "any target": {"targets": ()},
    "exactly as old as it may be": {"max_age_days": 5, "now": SEQUENCE + 5 * DAY},
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_what_breaks_no_rule_is_taken(contents: Contents, what: str) -> None:
    """A new bundle, the same one again, and one exactly at a limit are taken without a warning."""
    assert admit(contents, OURS, view(**ACCEPTED[what])) == ()


def test_its_own_floor_counts(contents: Contents) -> None:
    """A bundle that calls its own sequence too old is not taken."""
    strange = dataclasses.replace(contents, floor=SEQUENCE + 1)

    with pytest.raises(BundlerError) as caught:
        admit(strange, OURS, view())

    assert caught.value.rule == "SequenceRefused"


def test_an_update_needs_its_base(contents: Contents) -> None:
    """A delta is taken only where the bundle that it builds on was accepted."""
    delta = dataclasses.replace(contents, base=OTHER)

    with pytest.raises(BundlerError) as caught:
        admit(delta, OURS, view())

    assert (caught.value.rule, caught.value.exit_code) == ("FileMissing", 64)
    assert OTHER in caught.value.message
    assert admit(delta, OURS, view(held=frozenset({OTHER}))) == ()


def test_all_that_speaks_against_it_is_said(contents: Contents) -> None:
    """The first rule names the refusal; the problems list every other too."""
    bad = view(revoked=frozenset({OURS}), targets=("rocky-9-x86_64",), floor=SEQUENCE + 1, max_age_days=1, now=2**31)

    with pytest.raises(BundlerError) as caught:
        admit(contents, OURS, bad)

    rules = [problem.where for problem in caught.value.problems]
    assert rules == ["BundleRevoked", "TargetRefused", "SequenceRefused", "PolicyRefused"]
    assert caught.value.rule == "BundleRevoked"


def test_a_clock_that_runs_behind_is_a_warning(contents: Contents) -> None:
    """A clock set back decides nothing, but is said; so is a target of the site for which nothing came."""
    late = view(now=1, time_floor=SEQUENCE, targets=(DEBIAN, "rocky-9-x86_64"))

    warnings = [warning.message for warning in admit(contents, OURS, late)]

    assert len(warnings) == 2
    assert "clock" in warnings[0]
    assert "rocky-9-x86_64" in warnings[1]


def test_the_part_of_a_site_is_common_and_its_own(contents: Contents) -> None:
    """Common volumes and files of several targets belong to every site, those of one target to that one's."""
    part = carried_part(contents, (DEBIAN,))

    assert {volume.target for volume in part.volumes} == {"", DEBIAN}
    assert not any(file.targets == (UBUNTU,) for file in part.files)
    assert any(len(file.targets) == 2 for file in part.files)
    assert carried_part(contents, ()) == contents
    assert carried_targets(contents, (DEBIAN, "rocky-9-x86_64")) == (DEBIAN,)


@pytest.mark.parametrize(("free", "files"), [(999, 10), (1000, 1)])
def test_no_room_names_the_place_and_the_figures(free: int, files: int) -> None:
    """Too few bytes or too few files free is refused with what is needed and what is there."""
    with pytest.raises(SpaceError) as caught:
        check_room(Room(where="/var/lib/x", free=free, files=files), size=1000, files=2)

    assert "/var/lib/x" in caught.value.message
    assert str(min(free, files)) in caught.value.message


def test_enough_room_is_enough() -> None:
    """Exactly enough passes; a file system that counts no files has enough of them."""
    check_room(Room(where="/x", free=1000, files=2), size=1000, files=2)
    check_room(Room(where="/x", free=1000), size=1000, files=2)

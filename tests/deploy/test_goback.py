"""Which release hosts go back to."""

from __future__ import annotations

import pytest

from bundler.deploy.goback import Bounds, choose_line, plan_back
from bundler.errors import BundleRevoked, HostRefused, SequenceRefused, UsageError
from bundler.repohost.port import HostFacts, HostRelease, ReleaseState

FREE = Bounds(floors={}, revoked=frozenset())


def facts(line: str = "demo-1", **states: ReleaseState) -> HostFacts:
    releases = tuple(
        HostRelease(id=name, line=line, sequence=int(name[1:]), digest=f"d-{name}", targets=(), state=state)
        for name, state in states.items()
    )
    return HostFacts(system="", free=1, inodes=1, releases=releases)


def test_every_host_goes_back_to_the_release_before_the_newest() -> None:
    """The previous release is the one to serve."""
    fleet = {"a": facts(r2="active", r1="previous"), "b": facts(r2="active", r1="previous")}

    plan = plan_back(fleet, "demo-1", FREE)

    assert (plan.to.id, plan.hosts) == ("r1", ("a", "b"))


def test_a_host_that_is_back_already_stays() -> None:
    """A run that was cut is repeated without sending anybody forward again."""
    fleet = {"a": facts(r1="active", r2="previous"), "b": facts(r2="active", r1="previous")}

    plan = plan_back(fleet, "demo-1", FREE)

    assert (plan.to.id, plan.hosts) == ("r1", ("b",))


def test_back_never_means_forward() -> None:
    """Once all are back, a further run refuses instead of serving the newer release again."""
    fleet = {"a": facts(r1="active", r2="previous")}

    with pytest.raises(HostRefused, match="no older release"):
        plan_back(fleet, "demo-1", FREE)


def test_below_the_floor_is_refused() -> None:
    """A floor shuts an old release out for good."""
    with pytest.raises(SequenceRefused):
        plan_back(
            {"a": facts(r2="active", r1="previous")}, "demo-1", Bounds(floors={"demo-1": 2}, revoked=frozenset())
        )


def test_a_revoked_release_is_refused() -> None:
    """What was revoked is not served again."""
    with pytest.raises(BundleRevoked):
        plan_back({"a": facts(r2="active", r1="previous")}, "demo-1", Bounds(floors={}, revoked=frozenset({"d-r1"})))


def test_a_host_without_that_release_stops_all() -> None:
    """No host is touched where one cannot follow."""
    fleet = {"a": facts(r3="active", r2="previous"), "b": facts(r3="active", r1="previous"), "c": facts(r3="active")}

    with pytest.raises(HostRefused) as refused:
        plan_back(fleet, "demo-1", FREE)

    assert [problem.where for problem in refused.value.problems] == ["b", "c"]


def test_the_only_line_need_not_be_named() -> None:
    """With one line served it is clear which is meant; with several it is not."""
    one = {"a": facts(r2="active")}
    two = {
        "a": HostFacts(
            system="", free=1, inodes=1, releases=facts(r2="active").releases + facts("x-1", r5="active").releases
        )
    }

    assert choose_line(one, "") == "demo-1"
    assert choose_line(two, "x-1") == "x-1"
    for fleet, line in ((two, ""), (one, "nothing-9"), ({}, "")):
        with pytest.raises(UsageError):
            choose_line(fleet, line)

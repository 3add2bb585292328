"""What the gate says to what became of hosts."""

from __future__ import annotations

import pytest

from bundler.deploy.outcome import Applied, Outcome, State, within_gate
from bundler.errors import FleetStopped, HostUnreachable, PartlyApplied


def outcomes(*states: State) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(host=f"h{number}", state=state, error=HostUnreachable("no answer") if state == "failed" else None)
        for number, state in enumerate(states)
    )


@pytest.mark.parametrize(
    ("states", "allowed", "goes_on"),
    [
        (("proved", "proved"), 0, True),
        (("proved", "failed"), 0, False),
        (("proved", "failed"), 1, True),
        (("proved", "failed", "failed"), 1, False),
        (("failed",), 1, False),
        (("up to date", "failed"), 1, True),
    ],
)
def test_the_gate_counts_failures(states: tuple[State, ...], allowed: int, *, goes_on: bool) -> None:
    """As many hosts may fail as the site says, and never all of them."""
    assert within_gate(outcomes(*states), allowed) is goes_on


def test_success_is_that_all_hosts_serve() -> None:
    """Hosts that served it before count as those that were switched."""
    Applied(id="b", outcomes=outcomes("activated", "up to date"), stopped=False).require_success()


def test_allowed_failures_have_a_status_of_their_own() -> None:
    """A release that is active on all but an allowed few is neither success nor failure."""
    applied = Applied(id="b", outcomes=outcomes("activated", "failed"), stopped=False)

    with pytest.raises(PartlyApplied) as partly:
        applied.require_success()

    assert [problem.where for problem in partly.value.problems] == ["h1"]
    assert "active on 1 of 2" in partly.value.message


def test_a_stopped_fleet_says_that_nothing_was_activated() -> None:
    """Proved hosts wait; the error names the hosts that failed and why."""
    applied = Applied(id="b", outcomes=outcomes("proved", "failed", "failed"), stopped=True)

    with pytest.raises(FleetStopped, match=r"2 of 3 hosts failed.*activated on none") as stopped:
        applied.require_success()

    assert [problem.what for problem in stopped.value.problems] == ["no answer", "no answer"]


def test_what_could_not_be_taken_back_is_named() -> None:
    """A first release has nothing to go back to: the error does not claim otherwise."""
    applied = Applied(id="b", outcomes=outcomes("activated", "rolled back", "failed"), stopped=True)

    with pytest.raises(FleetStopped, match="could not be taken back on h0"):
        applied.require_success()

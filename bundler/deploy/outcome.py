"""What became of each repo host, and what the gate says to that. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bundler.errors import BundlerError, FleetStopped, PartlyApplied, Problem

#: ``up to date``: it served the release before; ``proved``: it has it, checked, and serves what it served.
State: TypeAlias = Literal["up to date", "proved", "activated", "rolled back", "failed"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One host. ``sent``: bytes of blobs; ``freed``: bytes that retention gave back; ``active``: what it serves."""

    host: str
    state: State
    active: str = ""
    sent: int = 0
    freed: int = 0
    error: BundlerError | None = None

    @property
    def serving(self) -> bool:
        """Return whether the host serves the release."""
        return self.state in ("up to date", "activated")


def problem_of(host: str, error: BundlerError) -> Problem:
    """Return what went wrong on a host; messages of connections begin with its name already."""
    return Problem(where=host, what=reason(host, error), hint=error.hint)


def reason(host: str, error: BundlerError | None) -> str:
    """Return what went wrong, for a place where the host's name stands already."""
    return error.message.removeprefix(f"{host}: ") if error else ""


def within_gate(outcomes: Iterable[Outcome], max_failed: int) -> bool:
    """Return whether so few hosts failed that the others go on. At least one has to be left."""
    found = tuple(outcomes)
    failed = sum(1 for one in found if one.state == "failed")
    return failed <= max_failed and failed < len(found)


@dataclass(frozen=True, kw_only=True)
class Applied:
    """The end of an apply. ``stopped``: more hosts failed than the gate allows."""

    id: str
    outcomes: tuple[Outcome, ...]
    stopped: bool

    def require_success(self) -> None:
        """Say which hosts do not serve the release, and why.

        Raises:
            FleetStopped: More failed than the gate allows: it was activated nowhere, or taken back.
            PartlyApplied: Some failed, as many as the gate allows.
        """
        failed, total = self._count("failed"), len(self.outcomes)
        if not failed and not self.stopped:
            return
        problems = [problem_of(one.host, one.error) for one in self.outcomes if one.error]
        if not self.stopped:
            raise PartlyApplied(
                f"{self.id} is active on {total - failed} of {total} hosts; {failed} failed, as the gate allows",
                hint="run apply again when they are well: only they are still to do",
                problems=problems,
            )
        raise FleetStopped(
            f"{self.id}: {failed} of {total} hosts failed, more than gates.max_failed allows; {self._where()}",
            hint="solve what is listed and run apply again: hosts that have it proved are sent nothing",
            problems=problems,
        )

    def _where(self) -> str:
        """Return what the other hosts serve."""
        serving = [one.host for one in self.outcomes if one.state == "activated"]
        if serving:
            return f"it could not be taken back on {', '.join(serving)}"
        back = self._count("rolled back")
        return f"it was taken back on {back}" if back else "it was activated on none"

    def _count(self, state: State) -> int:
        return sum(1 for one in self.outcomes if one.state == state)

"""Bring a release to the fleet: every host has it proved before any of them serves it.

Each step works on all hosts at the same time and leaves an outcome per host. Of hosts that share a root one writes;
the others are only looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from bundler.bundle.reader import Bundle
from bundler.clock import stopwatch
from bundler.deploy.fleet import Answer, Fleet
from bundler.deploy.outcome import Outcome, within_gate
from bundler.deploy.plan import Incoming, Look, Plan, active_release, admitted, make_plan
from bundler.deploy.push import outgoing, signed_files
from bundler.deploy.session import Session
from bundler.deploy.signed_part import signed_differences
from bundler.errors import HostRefused
from bundler.events import Emit, StageAdvanced, StageFinished, StageStarted, Warned, ignore
from bundler.model.site import Site
from bundler.repohost import intake, releases
from bundler.repohost.port import HostFacts

T = TypeVar("T")

#: Writes down at once what a host has done; called in the threads that talk to the hosts.
Note = Callable[[str, Outcome], None]


@dataclass(frozen=True, kw_only=True)
class Release:
    """A staged bundle, what is known of it, and the trust documents (version, files) by which hosts judge it.

    ``known``: digests of its list and signatures, by name.
    """

    bundle: Bundle
    incoming: Incoming
    known: Mapping[str, str]
    containers: tuple[tuple[int, Mapping[str, bytes]], ...]


def plan_fleet(fleet: Fleet, incoming: Incoming, site: Site) -> Plan:
    """Look at every host and return what applying would do; nothing is changed."""

    def look(session: Session) -> Look:
        facts = intake.look(session.admit)
        if session.host.admit:
            facts = _both(facts, intake.look(session.push))
        return Look(host=session.host, facts=facts, blobs=intake.blobs(session.push))

    answers = fleet.stage("look", look)
    return make_plan(incoming, [one.value or Look(host=one.host, error=one.error) for one in answers], site)


def _both(admit: HostFacts, push: HostFacts) -> HostFacts:
    """Return what an admitting and a pushing login see together."""
    return dataclasses.replace(
        admit,
        free=min(admit.free, push.free),
        writable=admit.writable and push.writable,
        holder=admit.holder or push.holder,
        separate=True,
    )


class Rollout:
    """One apply after its plan. The methods are called in their order; ``outcomes`` is what stands so far."""

    def __init__(self, fleet: Fleet, plan: Plan, release: Release, note: Note, emit: Emit = ignore) -> None:
        self._fleet = fleet
        self._plan = plan
        self._release = release
        self._note = note
        self._emit = emit
        self._plans = {host.host: host for host in plan.hosts}
        self._outcomes: dict[str, Outcome] = {}
        for host in plan.hosts:
            if host.unreachable:
                self._set(host.host, state="failed", error=host.unreachable)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what became of every host so far, in the order of the plan."""
        return tuple(self._outcomes[name] for name in self._plans if name in self._outcomes)

    def is_within_gate(self) -> bool:
        """Return whether so few hosts failed that the others go on."""
        return within_gate(self.outcomes, self._plan.max_failed)

    def bring(self) -> None:
        """Send every host what it lacks, and let it check and put together the release."""
        started = stopwatch()
        names = [host.host for host in self._plan.hosts if not host.writer and not host.unreachable]
        self._emit(StageStarted(stage="push", total=sum(host.send for host in self._plan.hosts), unit="bytes"))
        for answer in self._fleet.each(self._bring_one, self._fleet.some(names), stage="push"):
            name = answer.host.name
            if answer.error is not None:
                self._set(name, state="failed", error=answer.error)
            else:
                self._set(name, state="up to date" if self._plans[name].current else "proved", sent=answer.value)
        self._follow()
        sent = sum(one.sent for one in self.outcomes)
        self._emit(StageFinished(stage="push", seconds=stopwatch() - started, items=len(names), size=sent))

    def activate(self) -> None:
        """Let every host that has it proved serve it; look whether those that share a root see it."""

        def switch(session: Session) -> None:
            releases.activate(session.admit, self._plan.id)
            self._write_down("activated", session.host.name, active=self._plan.id)

        def see(session: Session) -> None:
            found = active_release(intake.look(session.admit), self._plan.line)
            if found is None or found.id != self._plan.id:
                raise HostRefused(
                    f"it does not see the release that {self._plans[session.host.name].writer} activated",
                    hint="is the shared root mounted there? see shared_root in site.yaml",
                )
            self._write_down("activated", session.host.name, active=self._plan.id)

        self._activated(self._fleet.stage("activate", switch, self._writers("proved")))
        self._follow()
        self._activated(self._fleet.stage("visible", see, self._watchers()))

    def take_back(self) -> None:
        """Let the hosts that this run switched serve again what they served before, be it nothing of this line."""

        def back(session: Session) -> str:
            name = session.host.name
            active = self._plans[name].active
            if active:
                releases.rollback(session.admit, self._plan.line, active)
            else:
                releases.deactivate(session.admit, self._plan.line, self._plan.id)
            self._write_down("rolled back", name, active=active)
            return active

        for answer in self._fleet.stage("rollback", back, self._writers("activated")):
            if answer.error is None:
                self._set(answer.host.name, state="rolled back", active=answer.value)
            else:
                self._set(answer.host.name, error=answer.error)
        self._follow()

    def prune(self) -> None:
        """Remove what retention no longer keeps. What fails is warned of: the release is served all the same."""

        def prune_one(session: Session) -> int:
            name = session.host.name
            freed = releases.prune(session.admit, self._plans[name].pruned)
            self._write_down("pruned", name, freed=freed)
            return freed

        names = [one.host for one in self.outcomes if one.serving and self._plans[one.host].pruned]
        for answer in self._fleet.stage("prune", prune_one, names):
            if answer.error is None:
                self._set(answer.host.name, freed=answer.value)
            else:
                self._emit(Warned(message=f"{answer.host.name}: not pruned: {answer.error.message}"))

    def _bring_one(self, session: Session) -> int:
        """Bring one host up to "proved"; return the bytes sent. What a cut try achieved is not done again."""
        plan, release = self._plans[session.host.name], self._release
        incoming, bundle_id = release.incoming, release.incoming.contents.id
        facts = intake.look(session.admit)
        newer = tuple(one for one in release.containers if one[0] > facts.trust)
        if newer:
            intake.send_trust(session.push, newer, session.admit)
        if admitted(incoming, facts, plan.targets) is not None:
            self._mend_signed(session)
            return 0
        there = intake.blobs(session.push)
        missing = [digest for digest in plan.wanted if digest not in there.complete]
        sent = 0

        def progress(size: int) -> None:
            nonlocal sent
            sent += size
            session.progressed = True
            self._emit(StageAdvanced(stage="push", amount=size))

        intake.send_signed(session.push, bundle_id, signed_files(release.bundle, plan.targets))
        intake.send_blobs(session.push, bundle_id, outgoing(release.bundle, missing, there.partial), progress)
        intake.admit(session.admit, bundle_id, plan.targets)
        return sent

    def _mend_signed(self, session: Session) -> None:
        """Send the signed part of a release that a host has again where it is damaged, or lacks a signature."""
        bundle, bundle_id = self._release.bundle, self._plan.id
        part, known = releases.vouch(session.admit, bundle_id), self._release.known
        if signed_differences(bundle_id, part, known) or not known.keys() <= part.digests.keys():
            plan = self._plans[session.host.name]
            intake.send_signed(session.push, bundle_id, signed_files(bundle, plan.targets))
            releases.restore_signed(session.admit, bundle_id)

    def _activated(self, answers: Iterable[Answer[None]]) -> None:
        for answer in answers:
            if answer.error is None:
                self._set(answer.host.name, state="activated", active=self._plan.id)
            else:
                self._set(answer.host.name, state="failed", error=answer.error)

    def _write_down(self, event: str, name: str, **changes: object) -> None:
        self._note(event, dataclasses.replace(self._outcomes[name], **changes))  # type: ignore[arg-type]

    def _set(self, name: str, **changes: object) -> None:
        known = self._outcomes.get(name, Outcome(host=name, state="failed", active=self._plans[name].active))
        self._outcomes[name] = dataclasses.replace(known, **changes)  # type: ignore[arg-type]

    def _writers(self, state: str) -> list[str]:
        return [one.host for one in self.outcomes if one.state == state and not self._plans[one.host].writer]

    def _watchers(self) -> list[str]:
        """Return the hosts whose shared root serves the release by now."""
        return [
            name
            for name, plan in self._plans.items()
            if plan.writer and self._outcomes[plan.writer].serving and self._outcomes[name].state != "failed"
        ]

    def _follow(self) -> None:
        """Give hosts that share a root the fate of the one that writes. Whether they see a switch, they are asked."""
        for name, plan in self._plans.items():
            known = self._outcomes.get(name)
            if not plan.writer or (known is not None and known.state == "failed"):
                continue
            writer = self._outcomes[plan.writer]
            if writer.state == "failed":
                error = HostRefused(f"{plan.writer}, which writes to the root that it shares, failed")
                self._set(name, state="failed", error=error)
            elif writer.state != "activated":
                self._set(name, state=writer.state, active=writer.active)

"""Bring a bundle from the medium to every repo host, and activate it on all of them or on none.

A kill at any point leaves every host with the old release or the new one. A rerun goes on where it was: what was
copied, sent, proved or activated is not done again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bundler.bundle.reader import open_bundle
from bundler.bundle.sticks import Ask
from bundler.deploy.audit import AuditLog
from bundler.deploy.fleet import Fleet, choose_hosts
from bundler.deploy.intake import IntakeRequest, take_in
from bundler.deploy.kept import keep_release, known_digests
from bundler.deploy.outcome import Applied, Outcome
from bundler.deploy.places import Places
from bundler.deploy.plan import Incoming, Plan
from bundler.deploy.receipts import known_hosts_state
from bundler.deploy.rollout import Release, Rollout, plan_fleet
from bundler.deploy.site_file import read_site
from bundler.deploy.state import hold, record_bundle
from bundler.deploy.trust_store import TrustStore
from bundler.errors import InterruptedByUser
from bundler.events import Emit, ignore
from bundler.workflows.site.plan import incoming_of

#: Is shown the plan before anything is sent; returns whether to go on.
Agree = Callable[[Plan], bool]


@dataclass(frozen=True, kw_only=True)
class ApplyRequest:
    """The media that carry the bundle, and where the site's files lie."""

    media: tuple[Path, ...]
    places: Places


def apply(request: ApplyRequest, agree: Agree, emit: Emit = ignore, ask: Ask | None = None) -> Applied:
    """Apply the bundle; return what became of every host. The result says by itself whether that is a success.

    Raises:
        Busy: Another run works on this site.
        TrustError, BundleError: This site does not take the bundle; no host was asked.
        PlanRefused: It cannot be done as planned; no host was touched.
    """
    places = request.places
    with hold(places):
        site = read_site(places)
        hosts = choose_hosts(site, ())
        taken = take_in(IntakeRequest(media=request.media, places=places, site=site, copy=True), emit, ask)
        trust = TrustStore(places)
        incoming = incoming_of(taken, trust.current())
        staged = taken.path or places.staging / incoming.digest
        with Fleet(site, hosts, emit, trust.distrusted()) as fleet, open_bundle(staged) as bundle:
            plan = plan_fleet(fleet, incoming, site)
            plan.require_possible()
            if not agree(plan):
                raise InterruptedByUser("not confirmed; no host was touched")
            release = Release(
                bundle=bundle, incoming=incoming, known=known_digests(staged), containers=trust.containers()
            )
            journal = _Journal(places, plan)
            rollout = Rollout(fleet, plan, release, journal.note, emit)
            rollout.bring()
            journal.catch_up(rollout.outcomes)
            if not rollout.is_within_gate():
                return _ended(journal, plan, rollout, stopped=True)
            _record(places, incoming, staged)
            rollout.activate()
            stopped = not rollout.is_within_gate()
            if stopped:
                rollout.take_back()
            else:
                rollout.prune()
            return _ended(journal, plan, rollout, stopped=stopped)


def _record(places: Places, incoming: Incoming, staged: Path) -> None:
    """Let the site's state rise, and keep the release's documents: before anything is activated."""
    contents = incoming.contents
    record_bundle(
        places,
        line=incoming.line,
        epoch=incoming.epoch,
        sequence=contents.sequence,
        digest=incoming.digest,
        floor=contents.floor,
        created=contents.created,
    )
    keep_release(places, staged)


class _Journal:
    """Writes down what was done to each host: switches at once, whatever else when the run ends."""

    def __init__(self, places: Places, plan: Plan) -> None:
        self._places = places
        self._log = AuditLog(places.log)
        self._plan = plan
        self._plans = {host.host: host for host in plan.hosts}
        self._noted: set[tuple[str, str]] = set()

    def note(self, event: str, one: Outcome) -> None:
        """Append a record of one host."""
        if event == "pruned":
            pruned = list(self._plans[one.host].pruned)
            self._log.append(event, {"host": one.host, "bundles": pruned, "bytes": one.freed})
            return
        facts = {"host": one.host, "bundle": self._plan.id, "digest": self._plan.digest, "bytes": one.sent}
        facts |= {"previous": self._plans[one.host].active, "active": one.active}
        facts |= {"message": one.error.message} if one.error else {}
        self._log.append(event, facts)
        self._noted.add((event, one.host))

    def catch_up(self, outcomes: tuple[Outcome, ...]) -> None:
        """Write down switches that a killed run made and could not write down."""
        known = {host.name: {held.bundle for held in host.active} for host in known_hosts_state(self._places)}
        for one in outcomes:
            if one.state == "up to date" and self._plan.id not in known.get(one.host, ()):
                self.note("activated", replace(one, active=self._plan.id))

    def end(self, outcomes: tuple[Outcome, ...]) -> None:
        """Write down what is not yet."""
        events = {"proved": "staged", "activated": "activated", "rolled back": "rolled back", "failed": "failed"}
        for one in outcomes:
            event = events.get(one.state, "")
            if event == "activated" and one.error:
                event = "failed"
            if event and (event, one.host) not in self._noted:
                self.note(event, one)


def _ended(journal: _Journal, plan: Plan, rollout: Rollout, *, stopped: bool) -> Applied:
    """Write down what is left to write down, and say what became of the hosts."""
    journal.end(rollout.outcomes)
    return Applied(id=plan.id, outcomes=rollout.outcomes, stopped=stopped)

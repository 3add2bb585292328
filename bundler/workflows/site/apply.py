"""Bring a bundle from the medium to every repo host, and activate it on all of them or on none.

A kill at any point leaves every host with the old release or the new one. A rerun goes on where it was: what was
copied, sent, proved or activated is not done again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bundler.bundle.reader import open_bundle
from bundler.bundle.sticks import Ask
from bundler.deploy.audit import AuditLog
from bundler.deploy.fleet import Fleet, choose_hosts
from bundler.deploy.intake import IntakeRequest, take_in
from bundler.deploy.kept import keep_release
from bundler.deploy.outcome import Applied
from bundler.deploy.places import Places
from bundler.deploy.plan import Incoming, Plan
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
        with Fleet(site, hosts, emit) as fleet, open_bundle(staged) as bundle:
            plan = plan_fleet(fleet, incoming, site)
            plan.require_possible()
            if not agree(plan):
                raise InterruptedByUser("not confirmed; no host was touched")
            release = Release(bundle=bundle, incoming=incoming, containers=trust.containers())
            rollout = Rollout(fleet, plan, release, emit)
            rollout.bring()
            if not rollout.is_within_gate():
                return _ended(places, plan, rollout, stopped=True)
            _record(places, incoming, staged)
            rollout.activate()
            stopped = not rollout.is_within_gate()
            if stopped:
                rollout.take_back()
            else:
                rollout.prune()
            return _ended(places, plan, rollout, stopped=stopped)


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


def _ended(places: Places, plan: Plan, rollout: Rollout, *, stopped: bool) -> Applied:
    """Write down what was done to each host."""
    log = AuditLog(places.log)
    before = {host.host: host.active for host in plan.hosts}
    events = {"proved": "staged", "activated": "activated", "rolled back": "rolled back", "failed": "failed"}
    for one in rollout.outcomes:
        if one.state in events:
            facts = {"host": one.host, "bundle": plan.id, "digest": plan.digest, "bytes": one.sent}
            facts |= {"previous": before[one.host], "active": one.active}
            facts |= {"message": one.error.message} if one.error else {}
            log.append(events[one.state], facts)
    return Applied(id=plan.id, outcomes=rollout.outcomes, stopped=stopped)

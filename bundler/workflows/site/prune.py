"""Remove releases that retention no longer keeps: from repo hosts, and copies of media from this host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bundler.deploy.audit import AuditLog
from bundler.deploy.fleet import Answer, Fleet, open_fleet, require_all
from bundler.deploy.local_prune import LocalPlan, plan_local, prune_local
from bundler.deploy.places import Places
from bundler.deploy.retention import surplus
from bundler.deploy.session import Session
from bundler.deploy.state import hold
from bundler.errors import InterruptedByUser
from bundler.events import Emit, Warned, ignore
from bundler.model.site import Site
from bundler.repohost import intake, releases
from bundler.repohost.releases import PrunePlan


@dataclass(frozen=True, kw_only=True)
class PruneRequest:
    """Which hosts, all without any."""

    places: Places
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PruneAll:
    """What would go, or what went: from each host, and here."""

    hosts: tuple[Answer[PrunePlan], ...]
    local: LocalPlan

    def require_success(self) -> None:
        """Say which hosts were not pruned, and why.

        Raises:
            BundlerError: There are some.
        """
        require_all(self.hosts, "pruning")


#: Is shown what would go; returns whether it goes.
Agree = Callable[[PruneAll], bool]


def plan_prune(request: PruneRequest, emit: Emit = ignore) -> PruneAll:
    """Return what would go; nothing is changed."""
    with open_fleet(request.places, request.hosts, emit) as (site, fleet):
        return _look(request.places, site, fleet, emit)


def prune(request: PruneRequest, agree: Agree, emit: Emit = ignore) -> PruneAll:
    """Look at all hosts, show what would go, and remove it. What is active, previous or pinned stays.

    Raises:
        Busy: Another run works on this site.
        InterruptedByUser: ``agree`` said no.
    """
    with hold(request.places), open_fleet(request.places, request.hosts, emit) as (site, fleet):
        planned = _look(request.places, site, fleet, emit)
        if not agree(planned):
            raise InterruptedByUser("not confirmed; nothing was removed")
        plans = {one.host.name: one.value for one in planned.hosts if one.value is not None}

        def remove(session: Session) -> PrunePlan:
            plan = plans[session.host.name]
            return replace(plan, size=releases.prune(session.admit, plan.releases))

        # First here: the audit log needs room too.
        prune_local(planned.local)
        removed = fleet.stage("prune", remove, fleet.writers(plans))
        _log(request.places, removed)
        away = tuple(one for one in planned.hosts if one.error is not None)
        return PruneAll(hosts=(*removed, *away), local=planned.local)


def _look(places: Places, site: Site, fleet: Fleet, emit: Emit) -> PruneAll:
    there: set[str] = set()

    def look(session: Session) -> PrunePlan:
        facts = intake.look(session.admit)
        there.update(one.id for one in facts.releases)
        lines = sorted({one.line for one in facts.releases})
        ids = [name for line in lines for name in surplus(facts.releases, line, site.retention)]
        return releases.prune_plan(session.admit, ids)

    hosts = fleet.stage("look", look)
    lost = [name for name in site.retention.pinned if name not in there]
    if lost and not any(one.error for one in hosts):
        what = f"retention.pinned names {', '.join(lost)}, which no host has"
        emit(Warned(message=what, hint="is it misspelled in site.yaml? it keeps nothing"))
    return PruneAll(hosts=hosts, local=plan_local(places))


def _log(places: Places, removed: tuple[Answer[PrunePlan], ...]) -> None:
    log = AuditLog(places.log)
    for one in removed:
        if one.value is not None:
            log.append(
                "pruned", {"host": one.host.name, "bundles": list(one.value.releases), "bytes": one.value.size}
            )

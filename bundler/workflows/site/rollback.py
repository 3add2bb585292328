"""Let repo hosts serve the previous release again: one switch per host, no medium, nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.deploy.audit import AuditLog
from bundler.deploy.fleet import Answer, open_fleet, require_all
from bundler.deploy.goback import Bounds, GoBack, choose_line, plan_back
from bundler.deploy.kept import require_trusted
from bundler.deploy.places import Places
from bundler.deploy.plan import active_release
from bundler.deploy.session import Session
from bundler.deploy.state import hold, read_state
from bundler.deploy.trust_store import TrustStore
from bundler.events import Emit, ignore
from bundler.repohost import intake, releases
from bundler.repohost.port import HostFacts


@dataclass(frozen=True, kw_only=True)
class RollbackRequest:
    """Which line, where several are served; which hosts, all without any."""

    places: Places
    line: str = ""
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """What the hosts were to go back to, and what became of each that was reached."""

    plan: GoBack
    answers: tuple[Answer[str], ...]

    def require_success(self) -> None:
        """Say on which hosts it failed, and why.

        Raises:
            BundlerError: It failed on some; a rerun does what is left.
        """
        require_all(self.answers, f"going back to {self.plan.to.id}")


def rollback(request: RollbackRequest, emit: Emit = ignore) -> RolledBack:
    """Go back on all hosts that answer; one that does not must not keep the others on a bad release.

    Raises:
        UsageError: It is not clear which line is meant.
        SequenceRefused, BundleRevoked, SignatureRefused: The previous release is below the floor, revoked, or signed
            by too few who still count. No host was touched.
        HostRefused: A host has no such release. No host was touched.
    """
    with hold(request.places), open_fleet(request.places, request.hosts, emit) as (_, fleet):
        looks = fleet.stage("look", lambda session: intake.look(session.admit))
        facts = {one.host.name: one.value for one in looks if one.value is not None}
        if not facts:
            require_all(looks, "looking")
        plan = plan_back(facts, choose_line(facts, request.line), _bounds(request.places))
        require_trusted(request.places, plan.to.id)

        def back(session: Session) -> str:
            return releases.rollback(session.admit, plan.line, plan.to.id)

        answers = fleet.stage("rollback", back, fleet.writers(plan.hosts))
        _log(request.places, plan, answers, facts)
        away = tuple(Answer[str](host=one.host, error=one.error) for one in looks if one.error is not None)
        return RolledBack(plan=plan, answers=(*answers, *away))


def _bounds(places: Places) -> Bounds:
    trust, state = TrustStore(places).current(), read_state(places)
    floors = dict(state.floors)
    for line in state.seen:
        name = line.rpartition("-")[0]
        floors[line] = max(floors.get(line, 0), trust.document.floors.get(name, 0))
    return Bounds(floors=floors, revoked=frozenset((*trust.document.revoked_bundles, *trust.distrust.bundles)))


def _log(places: Places, plan: GoBack, answers: tuple[Answer[str], ...], facts: dict[str, HostFacts]) -> None:
    log = AuditLog(places.log)
    for answer in answers:
        if answer.error is None:
            before = active_release(facts[answer.host.name], plan.line)
            values = {"host": answer.host.name, "bundle": plan.to.id, "digest": plan.to.digest}
            log.append("rolled back", {**values, "previous": before.id if before else ""})

"""What does every repo host have: active, previous and staged releases; is it like its peers; its last check?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bundler.deploy.audit import AuditLog
from bundler.deploy.fleet import Answer, open_fleet
from bundler.deploy.peers import Astray, astray
from bundler.deploy.places import Places
from bundler.deploy.session import Session
from bundler.events import Emit, ignore
from bundler.repohost import intake
from bundler.repohost.port import HostFacts


@dataclass(frozen=True, kw_only=True)
class LastCheck:
    """The newest `check` of a host that the audit log has."""

    time: str
    differences: int


@dataclass(frozen=True, kw_only=True)
class Status:
    """One answer per host, its last check, and of which lines it serves something else than its peers."""

    hosts: tuple[Answer[HostFacts], ...]
    checks: dict[str, LastCheck]
    astray: dict[str, tuple[Astray, ...]]


def status(places: Places, names: Sequence[str] = (), emit: Emit = ignore) -> Status:
    """Ask every host at once; those that do not answer are in the result with their error."""

    def look(session: Session) -> HostFacts:
        return intake.look(session.admit)

    with open_fleet(places, names, emit) as (_, fleet):
        hosts = fleet.stage("look", look)
    # Whoever was named is compared with those that were named too.
    seen = [(one.host, one.value) for one in hosts if one.value is not None]
    return Status(hosts=hosts, checks=_last_checks(places), astray=astray(seen))


def _last_checks(places: Places) -> dict[str, LastCheck]:
    found: dict[str, LastCheck] = {}
    for record in AuditLog(places.log).records():
        count = record.facts.get("differences")
        if record.event == "checked" and isinstance(count, int):
            found[str(record.facts.get("host"))] = LastCheck(time=record.time, differences=count)
        elif record.event in ("repaired", "activated", "rolled back"):
            found.pop(str(record.facts.get("host")), None)
    return found

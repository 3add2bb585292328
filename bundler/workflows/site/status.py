"""What does every repo host have: active, previous and staged releases, and when was it last checked?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bundler.deploy.audit import AuditLog
from bundler.deploy.fleet import Answer, open_fleet
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
    """One answer per host, and the last check of each that had one."""

    hosts: tuple[Answer[HostFacts], ...]
    checks: dict[str, LastCheck]


def status(places: Places, names: Sequence[str] = (), emit: Emit = ignore) -> Status:
    """Ask every host at once; those that do not answer are in the result with their error."""

    def look(session: Session) -> HostFacts:
        return intake.look(session.admit)

    with open_fleet(places, names, emit) as (_, fleet):
        return Status(hosts=fleet.stage("look", look), checks=_last_checks(places))


def _last_checks(places: Places) -> dict[str, LastCheck]:
    found: dict[str, LastCheck] = {}
    for record in AuditLog(places.log).records():
        count = record.facts.get("differences")
        if record.event == "checked" and isinstance(count, int):
            found[str(record.facts.get("host"))] = LastCheck(time=record.time, differences=count)
        elif record.event in ("repaired", "activated", "rolled back"):
            found.pop(str(record.facts.get("host")), None)
    return found

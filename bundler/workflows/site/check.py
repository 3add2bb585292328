"""Is what every repo host has, and serves, what was signed? Every file is hashed again there, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bundler.deploy.audit import AuditLog
from bundler.deploy.fleet import Answer, open_fleet, require_all
from bundler.deploy.http_check import Served, check_http, served_files
from bundler.deploy.kept import kept_releases, open_kept
from bundler.deploy.mend import damaged_parts
from bundler.deploy.outcome import problem_of
from bundler.deploy.places import Places
from bundler.deploy.session import Session
from bundler.errors import DriftFound, Problem
from bundler.events import Emit, Warned, ignore
from bundler.repohost import intake, releases
from bundler.repohost.port import Difference, HostFacts

#: As many differences of a host are named in the error; the table has them all.
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """Which hosts, all without any; ``http``: fetch every file from the hosts' URLs too."""

    places: Places
    hosts: tuple[str, ...] = ()
    http: bool = False


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What differs on each host, and which could not be asked."""

    answers: tuple[Answer[tuple[Difference, ...]], ...]

    def require_clean(self) -> None:
        """Say what differs where.

        Raises:
            DriftFound: Something does.
            BundlerError: A host could not be asked.
        """
        drifted = [one for one in self.answers if one.value]
        if drifted:
            raise DriftFound(
                f"{len(drifted)} of {len(self.answers)} hosts are not as was signed",
                hint="bundle-install repair puts back what was signed",
                problems=[
                    problem_of(one.host.name, one.error)
                    if one.error
                    else Problem(where=one.host.name, what=_name(one.value or ()))
                    for one in self.answers
                    if one.value or one.error
                ],
            )
        require_all(self.answers, "the check")


def check(request: CheckRequest, emit: Emit = ignore) -> Checked:
    """Check all hosts at once; the audit log gets what was found."""
    places = request.places

    def look(session: Session) -> tuple[Difference, ...]:
        found = _compare(session, places, emit)
        if request.http and session.host.url:
            found += check_http(session.host.url, _served(places, intake.look(session.admit), emit))
        return found

    with open_fleet(places, request.hosts, emit) as (_, fleet):
        if request.http:
            _warn_of_missing_urls([session.host.name for session in fleet.sessions if not session.host.url], emit)
        answers = fleet.stage("compare", look)
    log = AuditLog(places.log)
    for one in answers:
        if one.value is not None:
            paths = [f"{difference.kind} {difference.path}" for difference in one.value[:100]]
            log.append("checked", {"host": one.host.name, "differences": len(one.value), "paths": paths})
    return Checked(answers=answers)


def _compare(session: Session, places: Places, emit: Emit) -> tuple[Difference, ...]:
    """Compare what a host has on its disk, signed tables first."""
    checked = releases.check_all(session.admit)
    damaged = damaged_parts(places, checked.signed)
    found = (*checked.differences, *(one for differences in damaged.values() for one in differences))
    for release, part in checked.signed.items():
        # Keys change; what was installed by their trust stays, and is told.
        if part.status and release not in damaged:
            emit(Warned(message=f"{session.host.name}: trust of today refuses {release}: {part.why}"))
    if any(part.faults for part in checked.signed.values()):
        what = f"{session.host.name}: its files cannot be compared before its signed tables are mended"
        emit(Warned(message=what, hint="bundle-install repair"))
    return found


def _served(places: Places, facts: HostFacts, emit: Emit) -> Iterator[Served]:
    """Yield what a host has to serve, by what was signed; by its own word only which releases those are.

    What lines have under one name is left out where they differ in it: the host alone knows which of them leads.
    """
    found: dict[str, set[Served]] = {}
    for one in _signed(places, facts, emit):
        found.setdefault(one.path, set()).add(one)
    yield from (alone for alike in found.values() if len(alike) == 1 for alone in alike)


def _signed(places: Places, facts: HostFacts, emit: Emit) -> Iterator[Served]:
    kept = kept_releases(places)
    for release in facts.releases:
        if release.state != "active":
            continue
        if release.id not in kept:
            emit(Warned(message=f"nothing was kept of {release.id}: its files are not compared over HTTP"))
            continue
        with open_kept(places, release.id) as bundle:
            yield from served_files(bundle.contents, release.targets)


def _warn_of_missing_urls(names: list[str], emit: Emit) -> None:
    if names:
        emit(Warned(message=f"not compared over HTTP: {', '.join(names)}", hint="give them a url in site.yaml"))


def _name(differences: tuple[Difference, ...]) -> str:
    named = ", ".join(f"{one.path} ({one.kind})" for one in differences[:_NAMED])
    more = len(differences) - _NAMED
    return f"{named} and {more} more" if more > 0 else named

"""Put back what was signed wherever a repo host has something else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.bundle.sticks import Ask
from bundler.deploy.audit import AuditLog
from bundler.deploy.fleet import Answer, choose_hosts, open_fleet, require_all
from bundler.deploy.intake import IntakeRequest, take_in
from bundler.deploy.mend import Mender, damaged_parts, doubtful_parts
from bundler.deploy.places import Places
from bundler.deploy.session import Session
from bundler.deploy.site_file import read_site
from bundler.deploy.state import hold
from bundler.events import Emit, ignore
from bundler.repohost import intake, releases


@dataclass(frozen=True, kw_only=True)
class RepairRequest:
    """Which hosts, all without any; ``media`` bring the bundle where no copy of it is left here."""

    places: Places
    media: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Mended:
    """What one host had that was not signed, and how many bytes of blobs mended it."""

    differences: int
    sent: int


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """What became of each host."""

    answers: tuple[Answer[Mended], ...]

    def require_success(self) -> None:
        """Say which hosts could not be mended, and why.

        Raises:
            BundlerError: There are some.
        """
        require_all(self.answers, "the repair")


def repair(request: RepairRequest, emit: Emit = ignore, ask: Ask | None = None) -> Repaired:
    """Check all hosts and mend what differs; a host that is as it was signed is not touched.

    Raises:
        Busy: Another run works on this site.
        TrustError, BundleError: The bundle on the media is refused.
    """
    places = request.places
    with hold(places):
        if request.media:
            wanted = IntakeRequest(media=request.media, places=places, site=read_site(places), copy=True)
            take_in(wanted, emit, ask)
        # Any host of the site may have the blobs that a named one lacks.
        with open_fleet(places, (), emit) as (site, fleet):
            named = {host.name for host in choose_hosts(site, request.hosts)}
            looks = fleet.stage("look", lambda session: intake.look(session.admit))
            facts = {one.host.name: one.value for one in looks if one.value is not None}
            mender = Mender(places, fleet, facts)

            def mend(session: Session) -> Mended:
                checked = releases.check_all(session.admit)
                damaged = damaged_parts(places, checked.signed)
                mended = sum(map(len, damaged.values()))
                mended += len(mender.try_signed(session, doubtful_parts(places, checked.signed)))
                if damaged:
                    mender.mend_signed(session, damaged)
                    # Without them nothing was compared.
                    checked = releases.check_all(session.admit)
                differences = len(checked.differences) + mended
                sound = not checked.differences and mender.is_sound(session)
                return Mended(differences=differences, sent=0 if sound else mender.mend(session))

            answers = fleet.stage("repair", mend, fleet.writers(named & facts.keys()))
    log = AuditLog(places.log)
    for one in answers:
        if one.value is not None:
            log.append("repaired", {"host": one.host.name, "files": one.value.differences, "bytes": one.value.sent})
    away = tuple(
        Answer[Mended](host=one.host, error=one.error) for one in looks if one.error and one.host.name in named
    )
    return Repaired(answers=(*answers, *away))

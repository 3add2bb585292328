"""What would applying a bundle do to each repo host? No host is changed; new trust documents are kept here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.bundle.sticks import Ask
from bundler.deploy.fleet import Fleet, choose_hosts
from bundler.deploy.intake import IntakeRequest, TakenIn, take_in
from bundler.deploy.places import Places
from bundler.deploy.plan import Incoming, Plan
from bundler.deploy.rollout import plan_fleet
from bundler.deploy.site_file import read_site
from bundler.deploy.trust_store import Trust, TrustStore
from bundler.events import Emit, ignore


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """The media that carry the bundle, and where the site's files lie."""

    media: tuple[Path, ...]
    places: Places


def plan(request: PlanRequest, emit: Emit = ignore, ask: Ask | None = None) -> Plan:
    """Return what applying the bundle would do. The plan says by itself whether that is possible.

    Raises:
        TrustError, BundleError: This site does not take the bundle.
        SiteError: ``site.yaml`` is wrong.
    """
    site = read_site(request.places)
    hosts = choose_hosts(site, ())
    taken = take_in(IntakeRequest(media=request.media, places=request.places, site=site, copy=False), emit, ask)
    with Fleet(site, hosts, emit) as fleet:
        return plan_fleet(fleet, incoming_of(taken, TrustStore(request.places).current()), site)


def incoming_of(taken: TakenIn, trust: Trust) -> Incoming:
    """Return what a plan has to know of a bundle that the site takes."""
    contents = taken.verified.contents
    return Incoming(
        contents=contents,
        digest=taken.verified.digest,
        epoch=trust.document.epochs.get(contents.name, 0),
        trust=trust.document.version,
    )

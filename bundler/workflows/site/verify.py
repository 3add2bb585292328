"""Check a bundle at a site, by the site's own trust and state. Nothing of it is copied."""

from __future__ import annotations

from pathlib import Path

from bundler.bundle.sticks import Ask
from bundler.deploy.intake import IntakeRequest, TakenIn, take_in
from bundler.deploy.places import Places
from bundler.deploy.site_file import read_site
from bundler.events import Emit, ignore


def verify_at_site(
    media: tuple[Path, ...], places: Places, *, deep: bool = False, emit: Emit = ignore, ask: Ask | None = None
) -> TakenIn:
    """Return the bundle if this site would take it. Without a ``site.yaml`` any target will do.

    Raises:
        TrustError: Signatures, sequence or age are not as this site asks, or it has no trust yet.
        BundleError: It is not what was signed, makes no sense, or is for other targets.
        SiteError: ``site.yaml`` is wrong.
    """
    site = read_site(places) if places.site.exists() else None
    return take_in(IntakeRequest(media=media, places=places, site=site, copy=False, deep=deep), emit, ask)

"""Which releases a repo host no longer needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from bundler.model.site import Retention
from bundler.repohost.port import HostRelease


def surplus(releases: Iterable[HostRelease], line: str, retention: Retention, *, active: str = "") -> tuple[str, ...]:
    """Return the ids of releases of ``line`` beyond what retention keeps, oldest first.

    ``active`` is the release that is served, or is about to be; what is served now then counts as the previous one.
    The active, the previous and pinned releases never count as surplus.
    """
    mine = sorted((one for one in releases if one.line == line), key=lambda one: one.sequence)
    serving = next((one.id for one in mine if one.state == "active"), "")
    active = active or serving
    previous = serving if serving != active else next((one.id for one in mine if one.state == "previous"), "")
    others = [one.id for one in mine if one.id != active]
    kept = {previous, *retention.pinned, *others[max(0, len(others) - retention.keep) :]}
    return tuple(name for name in others if name not in kept)

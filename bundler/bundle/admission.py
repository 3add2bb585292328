"""Whether a site takes a bundle whose signatures are good: steps 6 and 7 of :mod:`bundler.bundle.verification`. Pure.

    6a  this very bundle is revoked                                     BundleRevoked
    6b  it is for none of the site's targets                            TargetRefused
    6c  same epoch and sequence as one that was seen, other content     EquivocationRefused
    6d  older than the highest one seen                                 SequenceRefused
    6e  below a floor: of trust, of earlier bundles, its own            SequenceRefused
    6f  its base bundle is not at the site                              FileMissing
    6g  older than the site allows                                      PolicyRefused
    7   room for the signed sizes                                       SpaceError

All that speaks against it is reported; the first in this order names the refusal. Nothing asks the clock but 6g, and
only where the site sets an age; a clock that runs behind what was seen is a warning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from bundler.clock import iso
from bundler.errors import (
    BundlerError,
    BundleRevoked,
    EquivocationRefused,
    FileMissing,
    PolicyRefused,
    Problem,
    SequenceRefused,
    SpaceError,
    TargetRefused,
)
from bundler.events import Warned
from bundler.model.contents import Contents

_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class SiteView:
    """What a site knows that decides about a bundle. ``targets`` empty: any; ``max_age_days`` 0: any age.

    ``seen`` is the highest (epoch, sequence, digest) of the bundle's line; ``digests`` of all that were seen, by
    (epoch, sequence); ``held`` the digests of bundles that a delta may build on; ``revoked`` digests never to take.
    """

    targets: tuple[str, ...] = ()
    epoch: int = 0
    trust_floor: int = 0
    floor: int = 0
    seen: tuple[int, int, str] | None = None
    digests: Mapping[tuple[int, int], str] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    revoked: frozenset[str] = frozenset()
    time_floor: int = 0
    max_age_days: int = 0
    now: int = 0


@dataclass(frozen=True, kw_only=True)
class Room:
    """Free bytes and files of the file system of ``where``; ``files`` None: it does not count them."""

    where: str
    free: int
    files: int | None = None


def admit(contents: Contents, digest: str, view: SiteView) -> tuple[Warned, ...]:
    """Return what is worth a warning about a bundle that the site takes.

    Raises:
        TrustError, BundleError: It does not; ``problems`` lists every reason, each under the name of its rule.
    """
    refusals = list(_refusals(contents, digest, view))
    if refusals:
        first = refusals[0]
        problems = [Problem(where=one.rule, what=one.message, hint=one.hint) for one in refusals]
        raise type(first)(first.message, hint=first.hint, problems=problems)
    return tuple(_warnings(contents, view))


def _refusals(contents: Contents, digest: str, view: SiteView) -> Iterator[BundlerError]:
    # 6a
    if digest in view.revoked:
        yield BundleRevoked(f"{contents.id} is revoked (SHA256SUMS {digest})", hint="ask for a newer bundle")
    # 6b
    if view.targets and not carried_targets(contents, view.targets):
        have = ", ".join(target.name for target in contents.targets)
        yield TargetRefused(
            f"{contents.id} is for {have}, this site has {', '.join(view.targets)}",
            hint="ask for a bundle for this site's targets, or correct targets in site.yaml",
        )
    yield from _order(contents, digest, view)
    # 6f
    if contents.base and contents.base not in view.held:
        yield FileMissing(
            f"{contents.id} is an update of a bundle that is not at this site (SHA256SUMS {contents.base})",
            hint="bring that bundle first, or a complete one",
        )
    # 6g
    age = (max(view.now, view.time_floor) - contents.created) // _DAY
    if 0 < view.max_age_days < age:
        yield PolicyRefused(
            f"{contents.id} is {age} days old, limits.max_age_days is {view.max_age_days}",
            hint="ask for a newer bundle, or raise the limit in site.yaml",
        )


def _order(contents: Contents, digest: str, view: SiteView) -> Iterator[BundlerError]:
    place = (view.epoch, contents.sequence)
    known = dict(view.digests)
    if view.seen is not None:
        known[view.seen[:2]] = view.seen[2]
    # 6c
    if known.get(place, digest) != digest:
        yield EquivocationRefused(
            f"{contents.id} has other content than the bundle of the same sequence that was here before: "
            f"SHA256SUMS {digest}, before {known[place]}",
            hint="do not install either; report it: somebody signed two bundles under one number",
        )
    # 6d
    if view.seen is not None and place < view.seen[:2]:
        yield SequenceRefused(
            f"{contents.id} is older than what this site has seen: {_place(place)}, seen {_place(view.seen[:2])}",
            hint="to go back to a release that was here, use: bundle-install rollback",
        )
    # 6e
    floors = {"the trust document's": view.trust_floor, "the site's": view.floor, "its own": contents.floor}
    whose = max(floors, key=lambda name: floors[name])
    if contents.sequence < floors[whose]:
        yield SequenceRefused(
            f"{contents.id} is below {whose} floor: sequence {contents.sequence}, floor {floors[whose]}",
            hint="something serious was repaired since: ask for a newer bundle",
        )


def _place(place: tuple[int, int]) -> str:
    epoch, sequence = place
    return f"sequence {sequence}" + (f" of epoch {epoch}" if epoch else "")


def _warnings(contents: Contents, view: SiteView) -> Iterator[Warned]:
    if view.now < view.time_floor:
        yield Warned(
            message=f"this host's clock says {iso(view.now)}, a bundle was made at {iso(view.time_floor)}",
            hint="set the clock; nothing here depends on it, but logs do",
        )
    missing = sorted(set(view.targets) - {target.name for target in contents.targets})
    if missing:
        yield Warned(message=f"{contents.id} has nothing for {', '.join(missing)}")


def carried_targets(contents: Contents, targets: Collection[str]) -> tuple[str, ...]:
    """Return the targets of the bundle that are a site's; no ``targets`` means all."""
    names = (target.name for target in contents.targets)
    return tuple(name for name in names if not targets or name in targets)


def carried_part(contents: Contents, targets: Collection[str]) -> Contents:
    """Return what the common volumes and those of ``targets`` carry, as contents of its own; no targets means all."""
    if not targets:
        return contents

    def ours(owners: tuple[str, ...]) -> bool:
        return len(owners) > 1 or owners[0] in targets

    return replace(
        contents,
        files=tuple(file for file in contents.files if ours(file.targets)),
        links=tuple(link for link in contents.links if ours(link.targets)),
        volumes=tuple(one for one in contents.volumes if not one.target or one.target in targets),
    )


def check_room(room: Room, *, size: int, files: int) -> None:
    """Refuse before anything is written if ``size`` more bytes in ``files`` more files do not fit.

    Raises:
        SpaceError: Naming the file system's directory, what is needed and what is free.
    """
    # 7
    if size > room.free:
        raise SpaceError(
            f"{room.where} has no room: {size} bytes are needed, {room.free} are free",
            hint=f"free {size - room.free} bytes there, or choose another place with --state-dir",
        )
    if room.files is not None and files > room.files:
        raise SpaceError(
            f"{room.where} has no room: {files} files are needed, {room.files} are free",
            hint="remove files there, or choose another place with --state-dir",
        )

"""Which file of a resolved version a target takes: the best wheel, else the sdist, else none. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from packaging.tags import Tag
from packaging.utils import BuildTag, InvalidWheelFilename, parse_wheel_filename

from bundler.model.lock import Artifact, DirectorySource, LockedPackage
from bundler.model.target import Target
from bundler.resolve.port import Resolved


@dataclass(frozen=True, kw_only=True)
class Impossible:
    """A version that a target can neither take as a wheel nor compile."""

    name: str
    version: str
    reason: str


def choose(resolved: Resolved, target: Target) -> LockedPackage | Impossible:
    """Return the package as ``target`` takes it; a directory's digest is left empty for the caller to fill."""
    if resolved.git is not None:
        return LockedPackage(name=resolved.name, version=resolved.version, kind="git", origin=resolved.git)
    if resolved.directory is not None:
        origin = DirectorySource(path=str(resolved.directory), sha256="")
        return LockedPackage(name=resolved.name, version=resolved.version, kind="directory", origin=origin)
    wheel = best_wheel(resolved.wheels, target.tags)
    chosen = wheel or resolved.sdist
    if chosen is None:
        return Impossible(name=resolved.name, version=resolved.version, reason=_reason(resolved))
    return LockedPackage(
        name=resolved.name,
        version=resolved.version,
        kind="wheel" if wheel else "sdist",
        origin=chosen,
        yanked=resolved.yanked,
    )


def best_wheel(wheels: Iterable[Artifact], tags: tuple[Tag, ...]) -> Artifact | None:
    """Return the wheel whose tag stands first in ``tags``; the higher build tag decides a tie (PEP 427)."""
    order = {tag: place for place, tag in reversed(tuple(enumerate(tags)))}
    fitting: list[tuple[int, _Build, str, Artifact]] = []
    for wheel in wheels:
        build, own = _parse(wheel.name)
        places = [order[tag] for tag in own if tag in order]
        if places:
            fitting.append((min(places), _Build(build), wheel.name, wheel))
    return min(fitting, key=lambda one: one[:3])[3] if fitting else None


@dataclass(frozen=True)
class _Build:
    """A build tag that sorts the highest first."""

    tag: BuildTag

    def __lt__(self, other: _Build) -> bool:
        return tuple(self.tag) > tuple(other.tag)


def _parse(filename: str) -> tuple[BuildTag, frozenset[Tag]]:
    try:
        _, _, build, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return (), frozenset()
    return build, tags


def _reason(resolved: Resolved) -> str:
    if not resolved.wheels:
        return "neither wheel nor sdist is offered with a sha256 digest"
    return f"{len(resolved.wheels)} wheels, none for this target, and no sdist"

"""When a wheel that was built for one target serves another. Pure.

Never, but for one case: builds of one source in two root file systems of different systems gave the very same bytes,
and the file name says ``none-any``. What those agree on holds for a further target too, so it need not be built there
again, under emulation, for hours. That a file name says ``any`` proves nothing by itself: ovs says so and holds what
its build found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bundler.model.lock import LockedPackage
from bundler.model.target import Target
from bundler.model.wheel import Wheel

_ENOUGH = 2
_PORTABLE = "-none-any.whl"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a build gave: for which target, on which target's system, with which build requirements."""

    target: str
    system: Target
    requirements: tuple[LockedPackage, ...]
    wheel: Wheel

    @property
    def recipe(self) -> frozenset[tuple[str, str]]:
        """Return the build requirements as names and versions: their files differ from target to target."""
        return recipe(self.requirements)


def recipe(requirements: Sequence[LockedPackage]) -> frozenset[tuple[str, str]]:
    """Return ``requirements`` as names and versions."""
    return frozenset((package.name, package.version) for package in requirements)


def systems(targets: Sequence[Target]) -> frozenset[tuple[str, str]]:
    """Return the different systems (distro, version) among ``targets``."""
    return frozenset((target.distro, target.version) for target in targets)


def enough(targets: Sequence[Target]) -> bool:
    """Return whether builds on ``targets`` could prove anything for another one."""
    return len(systems(targets)) >= _ENOUGH


def proved(samples: Sequence[Sample], requirements: Sequence[LockedPackage]) -> Wheel | None:
    """Return the wheel that ``samples``, all builds of one source, prove to be right where they were not built.

    One of them must have had the same build requirements in the same versions as the build that it saves.
    """
    if not enough([sample.system for sample in samples]):
        return None
    if len({(sample.wheel.filename, sample.wheel.digest) for sample in samples}) != 1:
        return None
    wheel = samples[0].wheel
    same = any(sample.recipe == recipe(requirements) for sample in samples)
    return wheel if same and wheel.filename.endswith(_PORTABLE) else None

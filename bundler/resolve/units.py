"""Joint requests: the requirements of several venvs on several targets as one list. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from packaging.markers import Marker
from packaging.requirements import Requirement

from bundler.errors import Problem, ResolutionFailed
from bundler.model.lock import LockedPackage
from bundler.model.plan import VenvPlan
from bundler.model.pylock import environment_marker
from bundler.model.target import Target
from bundler.resolve.choose import Impossible, choose
from bundler.resolve.explain import Asked
from bundler.resolve.port import Resolution, Resolved


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Plans that are resolved together; ``root`` is the manifest's directory, for local paths."""

    plans: tuple[VenvPlan, ...]
    root: PurePosixPath

    @property
    def name(self) -> str:
        """Return the names of the venvs."""
        return ", ".join(dict.fromkeys(plan.name for plan in self.plans))

    @property
    def targets(self) -> tuple[Target, ...]:
        """Return the targets, each once."""
        return tuple({plan.target.name: plan.target for plan in self.plans}.values())

    def lines(self, plan: VenvPlan) -> tuple[str, ...]:
        """Return the requirements of one plan as PEP 508 lines with absolute paths."""
        return tuple(one.rooted(self.root).to_pep508() for one in plan.requirements)

    @property
    def requirements(self) -> tuple[str, ...]:
        """Return all requirements; what not all targets ask for is bound to those that do."""
        asked: dict[str, list[Target]] = {}
        for plan in self.plans:
            for line in self.lines(plan):
                asked.setdefault(line, []).append(plan.target)
        every = {target.name for target in self.targets}
        return tuple(
            line if {one.name for one in targets} == every else only_on(line, targets)
            for line, targets in sorted(asked.items())
        )

    @property
    def asked(self) -> tuple[Asked, ...]:
        """Return who asks for what, for explanations."""
        found = (Asked(venv=plan.name, text=line) for plan in self.plans for line in self.lines(plan))
        return tuple(dict.fromkeys(found))

    def apart(self) -> tuple[Unit, ...]:
        """Return one unit for each venv."""
        names = dict.fromkeys(plan.name for plan in self.plans)
        return tuple(
            Unit(plans=tuple(plan for plan in self.plans if plan.name == name), root=self.root) for name in names
        )


def only_on(line: str, targets: Iterable[Target]) -> str:
    """Return the requirement ``line`` bound to the systems of ``targets``."""
    requirement = Requirement(line)
    markers = dict.fromkeys(f"({environment_marker(target)})" for target in targets)
    where = " or ".join(markers)
    own = f"({requirement.marker}) and " if requirement.marker else ""
    requirement.marker = Marker(f"{own}({where})")
    return str(requirement)


def choices(resolution: Resolution, target: Target) -> tuple[LockedPackage | Impossible, ...]:
    """Return what ``target`` takes of a resolution, one file for each package that holds there.

    Raises:
        ResolutionFailed: Two versions of one package hold at once.
    """
    holding: dict[str, list[Resolved]] = {}
    for package in resolution.packages:
        if not package.marker or Marker(package.marker).evaluate(dict(target.markers)):
            holding.setdefault(package.name, []).append(package)
    twice = [packages for packages in holding.values() if len(packages) > 1]
    if twice:
        raise ResolutionFailed(
            f"the resolver chose two versions of one package for {target.name}",
            hint="report this: it is a fault of the resolver's driver",
            problems=[_twice(packages) for packages in twice],
        )
    return tuple(choose(packages[0], target) for packages in holding.values())


def _twice(packages: Sequence[Resolved]) -> Problem:
    return Problem(where=packages[0].name, what=" and ".join(one.version for one in packages))

"""Lock venvs: resolve each group together once, and take every venv's exact subset for every target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from packaging.requirements import Requirement

from bundler.errors import ResolutionFailed
from bundler.events import Emit, ItemFinished, ItemStarted
from bundler.model.constraints import Effective
from bundler.model.lock import LockedPackage, VenvLock
from bundler.model.target import Target
from bundler.resolve.choose import Impossible
from bundler.resolve.explain import explain
from bundler.resolve.port import Resolution, Resolver, ResolveRequest
from bundler.resolve.units import Unit, choices
from bundler.resolve.walk import Walker
from bundler.workflows.lock_services import MetadataDesk
from bundler.workflows.lock_sources import STAGE

#: Return the constraints that a failure is about: the venvs' own, or those of build requirements.
EffectiveOf: TypeAlias = Callable[[ResolutionFailed], Effective]


@dataclass(frozen=True, kw_only=True)
class ResolvedUnit:
    """Venvs that were resolved together, and what every target takes."""

    unit: Unit
    resolution: Resolution
    chosen: dict[str, tuple[LockedPackage | Impossible, ...]]

    def cells(self) -> list[tuple[str, LockedPackage | Impossible]]:
        """Return target and choice, for the coverage matrix."""
        return [(target, one) for target, chosen in self.chosen.items() for one in chosen]


def resolve_group(
    unit: Unit, make_request: Callable[[Unit], ResolveRequest], effective: EffectiveOf, resolver: Resolver, emit: Emit
) -> tuple[list[ResolvedUnit], list[ResolutionFailed], list[str]]:
    """Resolve the venvs of ``unit`` together; where that fails, each on its own.

    Returns what was resolved, the failures, explained, and warnings.
    """
    emit(ItemStarted(stage=STAGE, item=unit.name))
    try:
        return [_resolve(unit, make_request, effective, resolver)], [], []
    except ResolutionFailed as error:
        parts = unit.apart()
        if len(parts) == 1:
            return [], [error], []
        joint = error
    finally:
        emit(ItemFinished(stage=STAGE, item=unit.name))
    found: list[ResolvedUnit] = []
    failures: list[ResolutionFailed] = []
    for part in parts:
        emit(ItemStarted(stage=STAGE, item=part.name))
        try:
            found.append(_resolve(part, make_request, effective, resolver))
        except ResolutionFailed as error:
            failures.append(error)
        emit(ItemFinished(stage=STAGE, item=part.name))
    warnings = [] if failures else [_not_together(unit, joint)]
    return found, failures, warnings


def _resolve(
    unit: Unit, make_request: Callable[[Unit], ResolveRequest], effective: EffectiveOf, resolver: Resolver
) -> ResolvedUnit:
    try:
        resolution = resolver.resolve(make_request(unit))
    except ResolutionFailed as error:
        raise explain(error, unit.asked, effective(error), unit.name) from error
    chosen = {target.name: choices(resolution, target) for target in unit.targets}
    return ResolvedUnit(unit=unit, resolution=resolution, chosen=chosen)


def _not_together(unit: Unit, error: ResolutionFailed) -> str:
    reasons = "; ".join(map(str, error.problems[:4]))
    return f"{unit.name} cannot share one environment and were resolved each on its own: {reasons}"


def lock_venvs(found: ResolvedUnit, desk: MetadataDesk) -> list[VenvLock]:
    """Return the lock of every venv of the unit on every target.

    Raises:
        ResolutionFailed: What was resolved does not fit a target.
        MetadataError: Core metadata cannot be had.
    """
    walkers = {target.name: _walker(found, target, desk) for target in found.unit.targets}
    return [
        VenvLock(
            venv=plan.name,
            target=plan.target.name,
            packages=walkers[plan.target.name].walk(Requirement(line) for line in found.unit.lines(plan)),
        )
        for plan in found.unit.plans
    ]


def _walker(found: ResolvedUnit, target: Target, desk: MetadataDesk) -> Walker:
    chosen: Sequence[LockedPackage] = [one for one in found.chosen[target.name] if isinstance(one, LockedPackage)]
    settled = desk.settle(chosen, target)
    return Walker(target, {one.name: one for one in settled}, desk.of(target))

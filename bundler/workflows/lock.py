"""Lock a manifest: exact packages for every venv and target, with what building them needs.

A lock is used again as long as its inputs are the same; nothing is fetched then, and no resolver runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from bundler import clock
from bundler.buildenv.host_target import host_target
from bundler.errors import Problem, ResolutionFailed, UsageError
from bundler.events import Emit, Noted, StageFinished, StageStarted, Warned, ignore
from bundler.model.constraints import Effective, Layer, merge, parse_layer
from bundler.model.lock import BuildLock, Lock, VenvLock
from bundler.model.lock_diff import LockDiff, diff_locks
from bundler.model.manifest_load import LoadedManifest
from bundler.model.plan import VenvPlan, plan_venvs
from bundler.resolve.coverage import Coverage, coverage, coverage_of
from bundler.resolve.drivers import choose_resolver
from bundler.resolve.port import ResolveRequest
from bundler.resolve.units import Unit
from bundler.store.cas import Store
from bundler.workflows.constraints import ConstraintGroup, constraint_groups, records_of
from bundler.workflows.lock_builds import BuildLocker, combined, extra_requirements
from bundler.workflows.lock_files import default_lock_dir, find_lock, load_lock, save_lock
from bundler.workflows.lock_inputs import Inputs, read_inputs, refuse_outdated, remote_changes
from bundler.workflows.lock_services import LockServices, lock_services
from bundler.workflows.lock_venvs import STAGE, ResolvedUnit, lock_venvs, resolve_group
from bundler.workflows.manifest import open_manifest, resolve_targets


@dataclass(frozen=True, kw_only=True)
class LockRequest:
    """What to lock. ``locked`` never resolves; ``diff`` is the directory of a lock to compare the result with."""

    manifest: Path
    store: Store
    lock_dir: Path | None = None
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    locked: bool = False
    resolver: str = ""
    diff: Path | None = None


@dataclass(frozen=True, kw_only=True)
class LockResult:
    """The lock and where it is; ``reused`` where its inputs had not changed."""

    lock: Lock
    lock_dir: Path
    reused: bool
    coverage: Coverage
    plans: tuple[VenvPlan, ...]
    loaded: LoadedManifest
    diff: LockDiff | None = None


@dataclass(kw_only=True)
class _Work:
    """One locking under way."""

    request: LockRequest
    services: LockServices
    plans: tuple[VenvPlan, ...]
    inputs: Inputs
    previous: Lock | None
    warnings: list[str] = field(default_factory=list)


def lock(request: LockRequest, emit: Emit = ignore) -> LockResult:
    """Lock the manifest, or use the lock that is there.

    Raises:
        DocumentError: Manifest or constraint layers are wrong.
        ResolveError: No versions fit (all failing venvs are explained), or the lock may not be renewed.
        SourceError: An index or a source cannot be had, or a bound package would come from elsewhere.
        BuildError: A source does not say what it needs.
    """
    # 1. The manifest, its targets and venvs; the lock that is there.
    loaded = open_manifest(request.manifest, emit)
    plans = plan_venvs(loaded.manifest, resolve_targets(loaded.manifest, host_target))
    directory = request.lock_dir or default_lock_dir(request.manifest)
    previous = find_lock(directory)
    resolver = request.resolver or loaded.manifest.resolver
    inputs = read_inputs(loaded, plans, resolver, request.store)
    _check(request, previous)
    # 2. Nothing changed: use it.
    upgrading = request.upgrade or bool(request.upgrade_packages)
    reused = previous is not None and previous.inputs == inputs.digest and not upgrading
    if previous is not None and reused:
        _tell(previous, emit)
        found = previous
    else:
        if request.locked:
            refuse_outdated(inputs, plans, previous, directory)
        # 3. Resolve, and write the lock.
        with lock_services(loaded, choose_resolver(resolver), request.store, emit) as services:
            work = _Work(request=request, services=services, plans=plans, inputs=inputs, previous=previous)
            found = _resolve(work)
        save_lock(found, {target.name: target for target in inputs.targets}, directory)
    return LockResult(
        lock=found,
        lock_dir=directory,
        reused=reused,
        coverage=coverage_of(found.venvs, found.targets),
        plans=plans,
        loaded=loaded,
        diff=diff_locks(load_lock(request.diff), found) if request.diff is not None else None,
    )


def _check(request: LockRequest, previous: Lock | None) -> None:
    upgrading = request.upgrade or request.upgrade_packages
    if request.locked and upgrading:
        raise UsageError("--locked and --upgrade contradict each other", hint="leave one of them out")
    held = {one.name for venv in previous.venvs for one in venv.packages} if previous is not None else set()
    held |= {one.name for build in previous.builds for one in build.packages} if previous is not None else set()
    unknown = sorted(set(_upgraded(request)) - held)
    if unknown:
        raise UsageError(
            "packages to upgrade are not in the lock",
            hint="names are those of `bundle-build lock --json`; a new package needs no upgrade",
            problems=[Problem(where=name, what="is in no venv") for name in unknown],
        )


def _tell(previous: Lock, emit: Emit) -> None:
    emit(Noted(message="the lock fits its inputs: used as it is"))
    for warning in previous.warnings:
        emit(Warned(message=warning))


def _resolve(work: _Work) -> Lock:
    began = clock.stopwatch()
    emit = work.services.emit
    emit(StageStarted(stage=STAGE))
    # 3.1 The effective constraints of every group of venvs.
    groups = constraint_groups(work.services.loaded.manifest, work.services.reader)
    # 3.2 One resolve for each group; failures of all groups are shown together.
    found = _resolve_groups(work, groups)
    # 3.3 Is there a file for every package on every target?
    names = tuple(target.name for target in work.inputs.targets)
    coverage((cell for _, units in found for unit in units for cell in unit.cells()), names).require()
    # 3.4 Each venv's own packages, and the build requirements of those without a wheel.
    venvs: dict[tuple[str, str], VenvLock] = {}
    builds: dict[tuple[str, str, str], BuildLock] = {}
    for group, units in found:
        locker = _lock_group(work, group, units, venvs)
        builds = {**locker.builds, **builds}
    result = _assemble(work, groups, venvs, builds)
    packages = sum(len(venv.packages) for venv in result.venvs)
    emit(StageFinished(stage=STAGE, seconds=clock.stopwatch() - began, items=packages))
    return result


def _resolve_groups(
    work: _Work, groups: Sequence[ConstraintGroup]
) -> list[tuple[ConstraintGroup, list[ResolvedUnit]]]:
    found: list[tuple[ConstraintGroup, list[ResolvedUnit]]] = []
    failures: list[ResolutionFailed] = []
    root = PurePosixPath(work.services.loaded.root.resolve())
    for group in groups:
        plans = tuple(plan for plan in work.plans if plan.name in group.venvs and plan.requirements)
        if not plans:
            continue
        builds = _build_effective(work, group)

        def request(unit: Unit, group: ConstraintGroup = group, builds: Effective = builds) -> ResolveRequest:
            return ResolveRequest(
                requirements=unit.requirements,
                targets=unit.targets,
                constraints=group.effective.text,
                build_constraints=builds.text,
                indexes=work.services.indexes,
                previous=_previous_versions(work.previous, {plan.name for plan in unit.plans}),
                upgrade=_upgrade(work.request),
            )

        unit = Unit(plans=plans, root=root)
        units, failed, warnings = resolve_group(
            unit, request, group.effective, work.services.resolver, work.services.emit
        )
        found.append((group, units))
        failures += failed
        work.warnings += warnings
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise combined(failures, "venvs cannot be resolved")
    return found


def _lock_group(
    work: _Work, group: ConstraintGroup, units: Sequence[ResolvedUnit], venvs: dict[tuple[str, str], VenvLock]
) -> BuildLocker:
    locker = BuildLocker(
        services=work.services,
        effective=_build_effective(work, group),
        directories=dict(work.inputs.directories),
        previous=_previous_builds(work.previous),
        upgrade=_upgrade(work.request),
        extra={},
    )
    locked = [venv for unit in units for venv in lock_venvs(unit, locker.desk)]
    venvs.update({(venv.venv, venv.target): venv for venv in locked})
    by_name = {(plan.name, plan.target.name): plan for plan in work.plans}
    locker.extra = extra_requirements(
        (venv.packages, [one.to_pep508() for one in by_name[venv.venv, venv.target].build_requirements])
        for venv in locked
    )
    targets = {target.name: target for target in work.inputs.targets}
    locker.lock_all((package, targets[venv.target]) for venv in locked for package in venv.packages)
    for unit in units:
        work.warnings += unit.resolution.warnings
    return locker


def _build_effective(work: _Work, group: ConstraintGroup) -> Effective:
    """Return what constrains build requirements: build.constraints over the group's own."""
    lines = work.services.loaded.manifest.build.constraints
    layers = [Layer(name=group.name, where=group.name, entries=group.effective.entries)]
    if lines:
        layers.insert(0, parse_layer("build", "\n".join(lines), "build.constraints"))
    return merge(layers)


def _assemble(
    work: _Work,
    groups: Sequence[ConstraintGroup],
    venvs: Mapping[tuple[str, str], VenvLock],
    builds: Mapping[tuple[str, str, str], BuildLock],
) -> Lock:
    release = work.services.loaded.manifest.release
    empty = [plan for plan in work.plans if not plan.requirements]
    filled = {**{(plan.name, plan.target.name): _nothing(plan) for plan in empty}, **venvs}
    fresh = Lock(
        name=release.name,
        version=release.version,
        sequence=0,
        created=0,
        inputs=work.inputs.digest,
        resolver=f"{work.services.resolver.name} {work.services.resolver.version}",
        targets=tuple(target.name for target in work.inputs.targets),
        venvs=tuple(filled[plan.name, plan.target.name] for plan in work.plans),
        builds=tuple(builds[key] for key in sorted(builds)),
        layers=records_of(groups),
        shadowed=tuple(dict.fromkeys(lost for group in groups for lost in group.effective.shadowed)),
        effective={group.name: group.effective.text for group in groups},
        warnings=tuple(dict.fromkeys(work.warnings)),
    )
    for warning in fresh.warnings:
        work.services.emit(Warned(message=warning))
    for location in remote_changes(work.previous.layers if work.previous else (), fresh.layers):
        work.services.emit(Noted(message=f"the constraint layer {location} changed since the last lock"))
    return numbered(fresh, work.previous, release.sequence)


def numbered(fresh: Lock, previous: Lock | None, fixed: int | None) -> Lock:
    """Return the lock with sequence and time: the previous ones where the content is the same."""
    now = clock.now()
    if previous is not None:
        same = replace(
            fresh,
            sequence=previous.sequence,
            created=previous.created,
            inputs=previous.inputs,
            resolver=previous.resolver,
        )
        if same == previous and fixed in (None, previous.sequence):
            return replace(same, inputs=fresh.inputs)
    rising = max(previous.sequence + 1, now) if previous is not None else now
    return replace(fresh, sequence=rising if fixed is None else fixed, created=now)


def _nothing(plan: VenvPlan) -> VenvLock:
    return VenvLock(venv=plan.name, target=plan.target.name, packages=())


def _upgrade(request: LockRequest) -> bool | frozenset[str]:
    return request.upgrade or _upgraded(request)


def _upgraded(request: LockRequest) -> frozenset[str]:
    return frozenset(str(canonicalize_name(name)) for name in request.upgrade_packages)


def _previous_versions(previous: Lock | None, venvs: set[str]) -> dict[str, str]:
    if previous is None:
        return {}
    return {
        package.name: package.version
        for venv in previous.venvs
        if venv.venv in venvs
        for package in venv.packages
        if package.kind in ("wheel", "sdist")
    }


def _previous_builds(previous: Lock | None) -> dict[str, str]:
    builds = previous.builds if previous is not None else ()
    return {package.name: package.version for build in builds for package in build.packages}

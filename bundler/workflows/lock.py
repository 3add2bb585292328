"""Lock a manifest: exact packages for every venv and target, with what building them needs.

A lock is used again as long as its inputs are the same; nothing is fetched then, and no resolver runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from bundler import clock
from bundler.buildenv.host_target import host_target
from bundler.errors import ManifestError, Problem, ResolutionFailed, UsageError
from bundler.events import Emit, Noted, StageFinished, StageStarted, Warned, ignore
from bundler.model.constraints import Effective, Layer, merge, parse_layer
from bundler.model.contents import SEEDS
from bundler.model.lock import BuildLock, Lock, VenvLock
from bundler.model.lock_diff import LockDiff, diff_locks
from bundler.model.manifest import UPPER
from bundler.model.manifest_load import LoadedManifest
from bundler.model.plan import VenvPlan, plan_seeds, plan_venvs
from bundler.resolve.coverage import Coverage, coverage, coverage_of
from bundler.resolve.drivers import choose_resolver
from bundler.resolve.port import ResolveRequest
from bundler.resolve.units import Unit
from bundler.store.cas import Store
from bundler.version import own_version
from bundler.workflows.constraints import ConstraintGroup, constraint_groups, records_of, release_group
from bundler.workflows.lock_builds import BuildLocker, all_of, combined, differing, extra_requirements
from bundler.workflows.lock_files import default_lock_dir, find_lock, load_lock, save_lock
from bundler.workflows.lock_inputs import Inputs, read_inputs, refuse_outdated, remote_changes
from bundler.workflows.lock_services import LockServices, lock_services
from bundler.workflows.lock_sources import STAGE
from bundler.workflows.lock_venvs import ResolvedUnit, lock_venvs, resolve_group
from bundler.workflows.manifest import open_manifest, resolve_targets
from bundler.workflows.systems import systems_of

#: What a resolver's message says where the requirements of a build do not resolve.
_BUILDING = "build-system.requires"


@dataclass(frozen=True, kw_only=True)
class LockRequest:
    """What to lock. ``locked`` never resolves; ``diff`` is the directory of a lock to compare the result with.

    ``refresh`` makes root file systems anew that are asked for.
    """

    manifest: Path
    store: Store
    lock_dir: Path | None = None
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    locked: bool = False
    resolver: str = ""
    diff: Path | None = None
    refresh: bool = False


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
    if not plans:
        raise ManifestError(f"{request.manifest} builds no venv for any target", hint="drop a skip: true")
    directory = request.lock_dir or default_lock_dir(request.manifest)
    previous = find_lock(directory)
    resolver = request.resolver or loaded.manifest.resolver
    inputs = read_inputs(loaded, plans, resolver, request.store)
    _check(request, previous)
    # 2. Nothing changed that decides what is locked: the packages stay.
    upgrading = request.upgrade or bool(request.upgrade_packages)
    found = None if upgrading or previous is None else _standing(loaded, inputs, previous)
    reused = found is not None and found == previous
    if reused and previous is not None:
        _tell(previous, emit)
    elif request.locked:
        refuse_outdated(inputs, plans, previous, directory)
    elif found is not None:
        emit(Noted(message="the packages stay; what else a bundle shows has changed: the lock is numbered anew"))
    # 3. Resolve, and write the lock.
    if found is None:
        systems = systems_of(loaded, plans, request.store, emit, refresh=request.refresh)
        with lock_services(loaded, choose_resolver(resolver), request.store, emit, systems) as services:
            work = _Work(request=request, services=services, plans=plans, inputs=inputs, previous=previous)
            found = _resolve(work)
    if not reused:
        _warn_of_falling(found, previous, emit)
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
    held = {one.name for venv in previous.carried for one in venv.packages} if previous is not None else set()
    held |= {one.name for build in previous.builds for one in build.packages} if previous is not None else set()
    unknown = sorted(set(_upgraded(request)) - held)
    if unknown:
        raise UsageError(
            "packages to upgrade are not in the lock",
            hint="names are those of `bundle-build lock --json`; a new package needs no upgrade",
            problems=[Problem(where=name, what="is in no venv") for name in unknown],
        )


def _standing(loaded: LoadedManifest, inputs: Inputs, previous: Lock) -> Lock | None:
    """Return the lock with the packages that are locked, where nothing asks for others."""
    if previous.inputs != inputs.digest:
        return None
    release = loaded.manifest.release
    said = replace(previous, name=release.name, version=release.version, manifest=inputs.content, tool=own_version())
    return numbered(said, previous, release.sequence)


def _warn_of_falling(found: Lock, previous: Lock | None, emit: Emit) -> None:
    if previous is not None and found.sequence < previous.sequence:
        emit(
            Warned(
                message=f"release.sequence {found.sequence} is lower than that of the last lock, {previous.sequence}",
                hint="a site refuses what is older than what it has: raise it, or leave it out",
            )
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
    # 3.2 One resolve for each group, seed packages by themselves; failures of all groups are shown together.
    parts = _parts(work, groups)
    found = _resolve_groups(work, parts)
    # 3.3 Is there a file for every package on every target?
    names = tuple(target.name for target in work.inputs.targets)
    coverage((cell for one in found for unit in one.units for cell in unit.cells()), names).require()
    # 3.4 Each venv's own packages, and the build requirements of those without a wheel.
    lockers = all_of((partial(_lock_venvs, work, one) for one in found), "groups of venvs cannot be locked")
    venvs = {(venv.venv, venv.target): venv for one in lockers for venv in one.venvs}
    extra = _extra_requirements(work, venvs.values())
    builds: dict[tuple[str, str, str], BuildLock] = {}
    all_of((partial(_lock_builds, work, one, extra) for one in lockers), "groups of builds cannot be locked")
    for one in lockers:
        work.warnings += differing(builds, one.locker.builds, one.group)
        builds = {**one.locker.builds, **builds}
    result = _assemble(work, tuple(group for group, _ in parts), venvs, builds)
    packages = sum(len(venv.packages) for venv in result.carried)
    emit(StageFinished(stage=STAGE, seconds=clock.stopwatch() - began, items=packages))
    return result


@dataclass(frozen=True, kw_only=True)
class _ResolvedGroup:
    """The venvs of one group as they resolved, and what asks sources under its constraints."""

    group: ConstraintGroup
    units: Sequence[ResolvedUnit]
    locker: BuildLocker


def _parts(work: _Work, groups: Sequence[ConstraintGroup]) -> list[tuple[ConstraintGroup, tuple[VenvPlan, ...]]]:
    """Return what is resolved together: constraints, and plans that ask for anything."""
    parts = [(group, tuple(plan for plan in work.plans if plan.name in group.venvs)) for group in groups]
    manifest = work.services.loaded.manifest
    seeds = plan_seeds(manifest, work.inputs.targets)
    if seeds:
        parts.append((release_group(manifest, work.services.reader, groups), seeds))
    return parts


def _resolve_groups(
    work: _Work, parts: Sequence[tuple[ConstraintGroup, tuple[VenvPlan, ...]]]
) -> list[_ResolvedGroup]:
    found: list[_ResolvedGroup] = []
    failures: list[ResolutionFailed] = []
    root = PurePosixPath(work.services.loaded.root.resolve())
    for group, asking in parts:
        plans = tuple(plan for plan in asking if plan.requirements)
        if not plans:
            continue
        locker = _locker(work, group)

        def request(unit: Unit, group: ConstraintGroup = group, locker: BuildLocker = locker) -> ResolveRequest:
            return ResolveRequest(
                requirements=unit.requirements,
                targets=unit.targets,
                constraints=group.effective.text,
                build_constraints=locker.effective.text,
                indexes=work.services.indexes,
                previous=_previous_versions(work.previous, {plan.name for plan in unit.plans}),
                upgrade=_upgrade(work.request),
                answers=locker.answers,
            )

        def effective(
            error: ResolutionFailed, group: ConstraintGroup = group, locker: BuildLocker = locker
        ) -> Effective:
            return locker.effective if _BUILDING in error.message else group.effective

        unit = Unit(plans=plans, root=root)
        units, failed, warnings = resolve_group(unit, request, effective, work.services.resolver, work.services.emit)
        found.append(_ResolvedGroup(group=group, units=units, locker=locker))
        failures += failed
        work.warnings += warnings
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise combined(failures, "venvs cannot be resolved")
    return found


@dataclass(frozen=True, kw_only=True)
class _LockedGroup:
    """The venvs of one group, and what locks the builds under its constraints."""

    group: str
    venvs: tuple[VenvLock, ...]
    locker: BuildLocker


def _locker(work: _Work, group: ConstraintGroup) -> BuildLocker:
    return BuildLocker(
        services=work.services,
        effective=_build_effective(work, group),
        directories=dict(work.inputs.directories),
        previous=_previous_builds(work.previous),
        upgrade=_upgrade(work.request),
        extra={},
    )


def _lock_venvs(work: _Work, resolved: _ResolvedGroup) -> _LockedGroup:
    venvs = tuple(venv for unit in resolved.units for venv in lock_venvs(unit, resolved.locker.desk))
    for unit in resolved.units:
        work.warnings += unit.resolution.warnings
    return _LockedGroup(group=resolved.group.name, venvs=venvs, locker=resolved.locker)


def _lock_builds(work: _Work, one: _LockedGroup, extra: Mapping[str, tuple[str, ...]]) -> None:
    one.locker.extra = extra
    targets = {target.name: target for target in work.inputs.targets}
    one.locker.lock_all((package, targets[venv.target]) for venv in one.venvs for package in venv.packages)


def _extra_requirements(work: _Work, venvs: Iterable[VenvLock]) -> dict[str, tuple[str, ...]]:
    """Return the further build requirements of every package, whatever group its venv is in: it is built once."""
    root = PurePosixPath(work.services.loaded.root.resolve())
    asked = {
        (plan.name, plan.target.name): [one.rooted(root).to_pep508() for one in plan.build_requirements]
        for plan in work.plans
    }
    return extra_requirements((venv.packages, asked.get((venv.venv, venv.target), ())) for venv in venvs)


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
    layers = work.services.loaded.manifest.constraints
    fresh = Lock(
        name=release.name,
        version=release.version,
        sequence=0,
        created=0,
        inputs=work.inputs.digest,
        manifest=work.inputs.content,
        resolver=f"{work.services.resolver.name} {work.services.resolver.version}",
        tool=own_version(),
        targets=tuple(target.name for target in work.inputs.targets),
        venvs=tuple(filled[plan.name, plan.target.name] for plan in work.plans),
        builds=tuple(builds[key] for key in sorted(builds)),
        layers=records_of(groups),
        shadowed=tuple(dict.fromkeys(lost for group in groups for lost in group.effective.shadowed)),
        effective={group.name: group.effective.text for group in groups},
        warnings=tuple(dict.fromkeys(work.warnings)),
        seeds=tuple(venv for (name, _), venv in venvs.items() if name == SEEDS),
        upper=next((work.services.reader.text_of(layer) for layer in layers if layer.name == UPPER), ""),
    )
    for warning in fresh.warnings:
        work.services.emit(Warned(message=warning))
    for location in remote_changes(work.previous.layers if work.previous else (), fresh.layers):
        work.services.emit(Noted(message=f"the constraint layer {location} changed since the last lock"))
    return numbered(fresh, work.previous, release.sequence)


def numbered(fresh: Lock, previous: Lock | None, fixed: int | None) -> Lock:
    """Return the lock with sequence and time: the previous ones where all else is the same.

    Whatever a lock says is in its bundle, and a site takes no two bundles of one sequence.
    """
    now = clock.now()
    if previous is not None and fixed in (None, previous.sequence):
        same = replace(fresh, sequence=previous.sequence, created=previous.created)
        if same == previous:
            return same
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
        for venv in previous.carried
        if venv.venv in venvs
        for package in venv.packages
        if package.kind in ("wheel", "sdist")
    }


def _previous_builds(previous: Lock | None) -> dict[str, str]:
    builds = previous.builds if previous is not None else ()
    return {package.name: package.version for build in builds for package in build.packages}

"""Check constraints: layers against each other and against the lock, and whether what is locked fits together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet

from bundler.buildenv.host_target import host_target
from bundler.errors import UsageError
from bundler.events import Emit, ignore
from bundler.model.constraint_lines import Entry, normal_version
from bundler.model.constraints import Effective, applies, read_effective
from bundler.model.lock import Lock, LockedPackage, Shadowed, VenvLock
from bundler.model.plan import VenvPlan, plan_venvs
from bundler.model.target import Target, known_target
from bundler.resolve.coinstall import Break, Environment
from bundler.store.cas import Store
from bundler.workflows.constraints import ConstraintGroup, show_constraints
from bundler.workflows.lock_files import default_lock_dir, find_lock, load_lock
from bundler.workflows.locked_metadata import LockedMetadata
from bundler.workflows.manifest import open_manifest, resolve_targets

_LEFT_OVER = "left over"


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """A manifest, or the directory of a lock. ``venv`` with ``old``: its lock before an upgrade in place."""

    path: Path
    store: Store
    lock_dir: Path | None = None
    venv: str = ""
    old: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A locked version that a constraint does not allow."""

    venv: str
    target: str
    package: str
    version: str
    constraint: str
    place: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A pair that does not fit, on which targets, and in words."""

    targets: tuple[str, ...]
    said: str


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Everything that was found.

    ``shadowed``: constraints that lost to a higher layer. Pairs that do not fit: ``alone``, inside one venv;
    ``together``, if the whole release were one environment; ``upgrade``, after an upgrade in place. ``unknown``:
    packages whose requirements are not known here.
    """

    lock: str
    shadowed: tuple[Shadowed, ...]
    violations: tuple[Violation, ...] = ()
    alone: tuple[Finding, ...] = ()
    together: tuple[Finding, ...] = ()
    upgrade: tuple[Finding, ...] = ()
    unknown: tuple[str, ...] = ()
    packages: int = 0


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What is checked: the lock if there is one, the constraints of each group, who asks for which extras."""

    lock: Lock | None
    place: str
    groups: Mapping[str, Effective]
    venvs: Mapping[str, str]
    plans: Mapping[tuple[str, str], VenvPlan]
    targets: Mapping[str, Target]

    def effective(self, venv: str) -> Iterator[Effective]:
        """Yield the constraints that may be those of ``venv``: a lock alone does not say which group it is in."""
        if venv in self.venvs:
            yield self.groups[self.venvs[venv]]
        elif venv in self.groups:
            yield self.groups[venv]
        else:
            yield from self.groups.values()

    def extras(self, venvs: Iterable[VenvLock]) -> dict[str, frozenset[str]]:
        """Return the extras that the manifest asks for."""
        found: dict[str, frozenset[str]] = {}
        for one in venvs:
            plan = self.plans.get((one.venv, one.target))
            for requested in plan.requirements if plan is not None else ():
                found[requested.name] = found.get(requested.name, frozenset()) | frozenset(requested.extras)
        return found


def check_constraints(request: CheckRequest, emit: Emit = ignore) -> CheckReport:
    """Return what does not fit.

    Raises:
        ConstraintError: A layer is wrong or cannot be had.
        LockInvalid: A lock cannot be read.
        UsageError: There is no lock where one is needed, or no such venv.
    """
    if bool(request.venv) != (request.old is not None):
        raise UsageError("--venv and --from belong together", hint="the venv to upgrade, and its lock before that")
    # 1. The layers, and who lost.
    subject, shadowed = _from_lock(request) if request.path.is_dir() else _from_manifest(request, emit)
    lock = subject.lock
    if lock is None:
        if request.venv:
            raise UsageError(f"there is no lock of {request.path} yet", hint=f"bundle-build lock {request.path}")
        return CheckReport(lock="", shadowed=shadowed)
    metadata = LockedMetadata(store=request.store)
    # 2. What is locked against the layers; every venv by itself; all of them as one environment.
    alone = [_environment(subject, metadata, [venv]) for venv in lock.venvs]
    by_target = [[venv for venv in lock.venvs if venv.target == name] for name in subject.targets]
    together = [_environment(subject, metadata, venvs) for venvs in by_target if venvs]
    # 3. One venv as an upgrade in place would leave it.
    upgraded = list(_upgraded(request, subject, metadata, lock))
    seen = _findings(subject, alone)
    said = {finding.said for finding in seen}
    return CheckReport(
        lock=subject.place,
        shadowed=shadowed,
        violations=tuple(violation for venv in lock.venvs for violation in _violations(subject, venv)),
        alone=seen,
        together=tuple(finding for finding in _findings(subject, together) if finding.said not in said),
        upgrade=_findings(subject, upgraded),
        unknown=tuple(sorted({name for one in (*together, *upgraded) for name in one.unknown()})),
        packages=sum(len(venv.packages) for venv in lock.venvs),
    )


def _from_manifest(request: CheckRequest, emit: Emit) -> tuple[_Subject, tuple[Shadowed, ...]]:
    loaded = open_manifest(request.path, emit)
    groups = show_constraints(request.path, request.store, ignore)
    plans = plan_venvs(loaded.manifest, resolve_targets(loaded.manifest, host_target))
    directory = request.lock_dir or default_lock_dir(request.path)
    lock = find_lock(directory)
    subject = _Subject(
        lock=lock,
        place=str(directory),
        groups={group.name: group.effective for group in groups},
        venvs={venv: group.name for group in groups for venv in group.venvs},
        plans={(plan.name, plan.target.name): plan for plan in plans},
        targets=_targets(lock),
    )
    return subject, _shadowed(groups)


def _shadowed(groups: Iterable[ConstraintGroup]) -> tuple[Shadowed, ...]:
    return tuple(dict.fromkeys(one for group in groups for one in group.effective.shadowed))


def _from_lock(request: CheckRequest) -> tuple[_Subject, tuple[Shadowed, ...]]:
    lock = load_lock(request.path)
    groups = {name: read_effective(text) for name, text in lock.effective.items()}
    subject = _Subject(lock=lock, place=str(request.path), groups=groups, venvs={}, plans={}, targets=_targets(lock))
    return subject, lock.shadowed


def _targets(lock: Lock | None) -> dict[str, Target]:
    """Return the targets of the lock's venvs; this host's own has its very Python."""
    here = host_target()
    names = dict.fromkeys(venv.target for venv in lock.venvs) if lock is not None else {}
    return {name: here if name == here.name else known_target(name) for name in names}


def _environment(subject: _Subject, metadata: LockedMetadata, venvs: Sequence[VenvLock]) -> Environment:
    target = subject.targets[venvs[0].target]
    found = Environment(target=target, meta_of=metadata.of(target), extras=subject.extras(venvs))
    for venv in venvs:
        found.add(venv.packages, venv.venv)
    return found


def _upgraded(
    request: CheckRequest, subject: _Subject, metadata: LockedMetadata, lock: Lock
) -> Iterator[Environment]:
    """Yield, for each target, the venv with its new packages and with what an upgrade in place leaves of the old."""
    if request.old is None:
        return
    new = [venv for venv in lock.venvs if venv.venv == request.venv]
    old = {venv.target: venv for venv in load_lock(request.old).venvs if venv.venv == request.venv}
    if not new or not old:
        where = subject.place if not new else request.old
        known = ", ".join(sorted({venv.venv for venv in lock.venvs}))
        raise UsageError(f"the lock at {where} has no venv {request.venv!r}", hint=f"venvs: {known}")
    for venv in new:
        if venv.target in old:
            found = _environment(subject, metadata, [venv])
            kept = [one for one in old[venv.target].packages if one.name not in found.held]
            found.add(kept, _LEFT_OVER)
            yield found


def _findings(subject: _Subject, environments: Iterable[Environment]) -> tuple[Finding, ...]:
    """Return what breaks, the same pair on several targets once."""
    found: dict[str, dict[str, None]] = {}
    for environment in environments:
        for one in environment.breaks():
            place = _place(subject, one, environment.target)
            found.setdefault(one.told(place), {})[environment.target.name] = None
    return tuple(Finding(targets=tuple(targets), said=said) for said, targets in found.items())


def _place(subject: _Subject, one: Break, target: Target) -> str:
    """Return which constraint chose the version that was found."""
    holder = one.found_by.split(", ", 1)[0]
    every = (entry for effective in subject.effective(holder) for entry in effective.of(one.name))
    return next((entry.place for entry in every if entry.pin and applies(entry, target.markers)), "")


def _violations(subject: _Subject, venv: VenvLock) -> tuple[Violation, ...]:
    """Return what the constraints of ``venv`` do not allow; of several candidates those that fit best are its own."""
    target = subject.targets[venv.target]
    candidates = [_violated(effective, venv, target) for effective in subject.effective(venv.venv)]
    return min(candidates, key=len, default=())


def _violated(effective: Effective, venv: VenvLock, target: Target) -> tuple[Violation, ...]:
    said = effective.effective_for(target.markers)
    return tuple(
        Violation(
            venv=venv.venv,
            target=venv.target,
            package=package.name,
            version=package.version,
            constraint=entry.requirement,
            place=entry.place,
        )
        for package in venv.packages
        for entry in said.get(package.name, ())
        if not _allows(entry, package)
    )


def _allows(entry: Entry, package: LockedPackage) -> bool:
    if entry.url or not entry.constraint:
        return True
    if entry.pin:
        # A constraint without a local version allows any.
        return entry.pin in (normal_version(package.version), normal_version(package.version.partition("+")[0]))
    return SpecifierSet(entry.constraint).contains(package.version, prereleases=True)

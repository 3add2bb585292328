"""Lock what building needs: the build requirements of every package without a wheel, and theirs in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import TypeVar

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundler.errors import BundlerError, Problem, ResolutionFailed
from bundler.model.constraints import Effective
from bundler.model.lock import BuildLock, LockedPackage
from bundler.model.manifest import Build
from bundler.model.manifest_load import LoadedManifest
from bundler.model.requirement import parse_requirement
from bundler.model.target import Target
from bundler.model.wheel import Wheel
from bundler.resolve.coverage import coverage
from bundler.resolve.explain import Asked, explain
from bundler.resolve.port import ResolveRequest
from bundler.resolve.units import choices
from bundler.resolve.walk import Walker
from bundler.wheels.inspector import SourceInspector, asked
from bundler.wheels.provide import Provider, provide_requirements
from bundler.workflows.lock_services import LockServices, MetadataDesk
from bundler.workflows.lock_sources import SourceDesk

_AT_ONCE = 4
_BuildKey = tuple[str, str, str]
#: The builds that are being locked on the way to here.
_locking: ContextVar[tuple[_BuildKey, ...]] = ContextVar("locking", default=())
Result = TypeVar("Result")


@dataclass(kw_only=True)
class BuildLocker:
    """Locks builds under one set of constraints. ``previous`` are versions to keep where nothing speaks against.

    ``extra`` are the manifest's further build requirements by package (those of the venvs that hold it).
    """

    services: LockServices
    effective: Effective
    directories: dict[str, str]
    previous: Mapping[str, str]
    upgrade: bool | frozenset[str]
    extra: Mapping[str, tuple[str, ...]]
    builds: dict[_BuildKey, BuildLock] = field(default_factory=dict)
    _resolved: dict[tuple[tuple[str, ...], str], tuple[LockedPackage, ...]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.inspector = SourceInspector(
            sources=self.services.sources,
            fetch=self.services.fetch,
            environment=self.services.environment,
            wheels_for=self._wheels_for,
            settings=_rooted(self.services.loaded),
        )
        self.desk = MetadataDesk(
            services=self.services, source_metadata=self.inspector.metadata, directories=self.directories
        )
        self.answers = SourceDesk(
            desk=self.desk, store=self.services.store, commit_of=self.services.git.resolve, emit=self.services.emit
        )

    def lock_all(self, wanted: Iterable[tuple[LockedPackage, Target]]) -> None:
        """Lock the builds of every package in ``wanted`` that needs one.

        Raises:
            BundlerError: Builds that cannot be locked; ``problems`` has all of them.
        """
        todo = {_key(package, target): (package, target) for package, target in wanted if package.must_build}
        all_of((partial(self.lock, *todo[key]) for key in sorted(todo)), "builds cannot be locked", _AT_ONCE)

    def lock(self, package: LockedPackage, target: Target) -> None:
        """Lock what building ``package`` for ``target`` needs, and what building that needs.

        Raises:
            ResolutionFailed: Its requirements contradict each other, or it needs itself to be built.
        """
        key = _key(package, target)
        if key in self.builds:
            return
        stack = _locking.get()
        if key in stack:
            way = " → ".join(f"{name} {version}" for name, version, _ in (*stack[stack.index(key) :], key))
            raise ResolutionFailed(
                f"{package.name} {package.version} must be built, and needs itself for that: {way}",
                hint="name an index or a wheel folder that has a wheel of it",
            )
        token = _locking.set((*stack, key))
        try:
            lines = (*self.inspector.build_requires(package, target), *self.extra.get(package.name, ()))
            packages = self.resolve(lines, target, f"building {package.name} {package.version}")
        finally:
            _locking.reset(token)
        self.builds[key] = BuildLock(
            package=package.name, version=package.version, target=target.name, packages=packages
        )

    def resolve(self, lines: Iterable[str], target: Target, what: str) -> tuple[LockedPackage, ...]:
        """Return the packages that ``lines`` resolve to, the builds of those among them locked too."""
        requirements = tuple(sorted({str(Requirement(line)) for line in lines}))
        key = (requirements, target.name)
        with self._lock:
            known = self._resolved.get(key)
        if known is None:
            known = self._resolve(requirements, target, what)
            with self._lock:
                self._resolved[key] = known
        for package in known:
            if package.must_build:
                self.lock(package, target)
        return known

    def _resolve(self, requirements: tuple[str, ...], target: Target, what: str) -> tuple[LockedPackage, ...]:
        if not requirements:
            return ()
        request = ResolveRequest(
            requirements=requirements,
            targets=(target,),
            constraints=self.effective.text,
            build_constraints=self.effective.text,
            indexes=self.services.indexes,
            previous=self.previous,
            upgrade=self.upgrade,
            answers=self.answers,
        )
        try:
            resolution = self.services.resolver.resolve(request)
        except ResolutionFailed as error:
            asked = [Asked(venv=what, text=line) for line in requirements]
            raise explain(error, asked, self.effective, f"{what} for {target.name}") from error
        chosen = choices(resolution, target)
        coverage(((target.name, one) for one in chosen), (target.name,)).require()
        packages = self.desk.settle([one for one in chosen if isinstance(one, LockedPackage)], target)
        walker = Walker(target, {one.name: one for one in packages}, self.desk.of(target))
        return walker.walk(Requirement(line) for line in requirements)

    def _wheels_for(self, lines: tuple[str, ...], target: Target) -> Sequence[Wheel]:
        packages = self.resolve(lines, target, f"asking {asked()} what it needs")
        environment = self.services.environment(target)
        provider = Provider(
            store=self.services.store,
            sources=self.services.sources,
            targets={target.name: target},
            environments={target.name: environment},
            settings=self.services.loaded.manifest.build,
            fetch=self.services.fetch,
            fetch_git=self.services.git.fetch_all,
        )
        return provide_requirements(packages, tuple(self.builds.values()), target, provider)


def all_of(calls: Iterable[Callable[[], Result]], what: str, at_once: int = 1) -> list[Result]:
    """Return what every call gives; a failure lets the others go on.

    Raises:
        BundlerError: The one failure, or one error that names all of them.
    """
    failures: list[BundlerError] = []

    def attempt(call: Callable[[], Result]) -> list[Result]:
        try:
            return [call()]
        except BundlerError as error:
            failures.append(error)
            return []

    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="locks") as pool:
        found = [result for results in pool.map(attempt, list(calls)) for result in results]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise combined(failures, what)
    return found


def combined(failures: Sequence[BundlerError], what: str) -> ResolutionFailed:
    """Return one error that names all ``failures``."""
    problems: list[Problem] = []
    for error in failures:
        problems.append(Problem(where="", what=error.message, hint=error.hint))
        problems += error.problems
    return ResolutionFailed(f"{len(failures)} {what}", problems=tuple(dict.fromkeys(problems)))


def extra_requirements(venvs: Iterable[tuple[Sequence[LockedPackage], Sequence[str]]]) -> dict[str, tuple[str, ...]]:
    """Return the further build requirements of every package, from the venvs (packages, requirements) with it."""
    found: dict[str, tuple[str, ...]] = {}
    for packages, lines in venvs:
        for package in packages:
            if package.must_build and lines:
                name = str(canonicalize_name(package.name))
                found[name] = tuple(dict.fromkeys((*found.get(name, ()), *lines)))
    return found


def differing(builds: Mapping[_BuildKey, BuildLock], others: Mapping[_BuildKey, BuildLock], group: str) -> list[str]:
    """Return a warning for each build that ``group`` would do otherwise: a package is built once for a target."""
    found = []
    for key in sorted(set(builds) & set(others)):
        taken = {one.name: one.version for one in builds[key].packages}
        wanted = {one.name: one.version for one in others[key].packages}
        names = sorted(one for one in {*taken, *wanted} if taken.get(one) != wanted.get(one))
        if names:
            what = ", ".join(
                f"{name} {taken.get(name, 'absent')} instead of {wanted.get(name, 'none')}" for name in names
            )
            name, version, target = key
            found.append(f"{name} {version} is built once on {target}, for {group} too with {what}")
    return found


def _rooted(loaded: LoadedManifest) -> Build:
    """Return how packages are built, paths among their requirements made absolute."""
    root = PurePosixPath(loaded.root.resolve())
    build = loaded.manifest.build
    packages = {
        name: settings.model_copy(
            update={"requires": tuple(parse_requirement(one).rooted(root).to_pep508() for one in settings.requires)}
        )
        for name, settings in build.packages.items()
    }
    return build.model_copy(update={"packages": packages})


def _key(package: LockedPackage, target: Target) -> _BuildKey:
    return (package.name, package.version, target.name)

"""From a lock to wheels: fetch every file, check what was fetched, build what must be built, all of it in the store.

Every problem of every package is reported, not the first one: a failed build stops only those that need it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundler import clock
from bundler.buildenv.port import BuildEnvironment
from bundler.errors import BuildError, BundlerError, Problem, WheelBuildFailed
from bundler.events import (
    Emit,
    ItemFinished,
    ItemStarted,
    StageAdvanced,
    StageFinished,
    StageStarted,
    Warned,
    ignore,
)
from bundler.model.lock import Artifact, BuildLock, GitSource, Lock, LockedPackage
from bundler.model.manifest import Build, PackageBuild
from bundler.model.target import Target
from bundler.model.wheel import Wheel, WheelSet
from bundler.store.cas import Store
from bundler.wheels.build import BuildRequest, build_wheel, duration_key, recall_wheel
from bundler.wheels.needed import Job, artifacts, expand, git_sources, wheel_key
from bundler.wheels.pool import run_schedule
from bundler.wheels.schedule import Schedule, Task
from bundler.wheels.source import Sources
from bundler.wheels.verdicts import check_all

STAGE = "build"
_PART_OF_MEMORY = 0.8
_UNKNOWN_SECONDS = 30.0
_MEMORY = Path("/proc/meminfo")


def nothing_to_fetch(_items: object) -> None:
    """Fetch nothing: everything is in the store."""


def available_memory() -> int:
    """Return how much memory builds may take together, in MiB."""
    lines = _MEMORY.read_text().splitlines() if _MEMORY.is_file() else []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(int(line.split()[1]) / 1024 * _PART_OF_MEMORY)
    return 2048


@dataclass(frozen=True, kw_only=True)
class Provider:
    """What providing wheels needs.

    ``fetch`` brings files into the store, ``fetch_git`` updates mirrors; both take all items at once.
    ``environments`` maps target names to where they are built; a target that has none is built in the first one, as
    far as the result is portable. ``memory`` (MiB) and ``slots`` bound what runs at once.
    """

    store: Store
    sources: Sources
    targets: Mapping[str, Target]
    environments: Mapping[str, BuildEnvironment]
    settings: Build = field(default_factory=Build)
    fetch: Callable[[Sequence[Artifact]], object] = nothing_to_fetch
    fetch_git: Callable[[Sequence[GitSource]], object] = nothing_to_fetch
    emit: Emit = ignore
    memory: int = field(default_factory=available_memory)
    slots: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    def environment(self, target: Target) -> BuildEnvironment:
        """Return where wheels of ``target`` are built.

        Raises:
            BuildError: There is no build environment at all.
        """
        found = self.environments.get(target.name) or next(iter(self.environments.values()), None)
        if found is None:
            raise BuildError(
                f"nothing can be built for {target.name}: no build environment", hint="build on that system"
            )
        return found


def provide_wheels(lock: Lock, provider: Provider) -> tuple[WheelSet, ...]:
    """Return the wheels of every venv of ``lock``, in its order, each in the store and checked.

    Raises:
        SourceError: Files cannot be had, or are not what the lock names.
        BuildError: Wheels are refused or builds failed; ``problems`` has all of them.
        LockInvalid: The lock has no build requirements for a package that must be built.
    """
    wanted = [(package, venv.target) for venv in lock.venvs for package in venv.packages]
    wheels = provide_packages(wanted, lock.builds, provider)
    return tuple(
        WheelSet(
            venv=venv.venv,
            target=venv.target,
            wheels=tuple(wheels[wheel_key(package, venv.target)] for package in venv.packages),
            packages=venv.packages,
        )
        for venv in lock.venvs
    )


def provide_requirements(
    packages: Sequence[LockedPackage], builds: Sequence[BuildLock], target: Target, provider: Provider
) -> tuple[Wheel, ...]:
    """Return the wheels of ``packages``, for instance build requirements while locking; errors as provide_wheels."""
    wheels = provide_packages([(package, target.name) for package in packages], builds, provider)
    return tuple(wheels[wheel_key(package, target.name)] for package in packages)


def provide_packages(
    wanted: Sequence[tuple[LockedPackage, str]], builds: Sequence[BuildLock], provider: Provider
) -> dict[str, Wheel]:
    """Return the wheels of ``wanted`` (package, target name) and of all that building them needs, by key."""
    # 1. What is needed in all: the wanted packages and, for those that must be built, their build requirements.
    every, jobs = expand(wanted, builds, provider.targets)
    # 2. Fetch all files at once, then all mirrors.
    provider.fetch(artifacts(package for package, _ in every.values()))
    commits = git_sources(job.package for job in jobs.values())
    if commits:
        provider.fetch_git(commits)
    # 3. Check what was fetched.
    wheels = _fetched(every, provider)
    # 4. Build the rest, in the order of need.
    wheels.update(_build_all(jobs, wheels, provider))
    return wheels


def _fetched(every: Mapping[str, tuple[LockedPackage, str]], provider: Provider) -> dict[str, Wheel]:
    wheels = {
        key: (_fetched_wheel(package, package.origin, provider.store), provider.targets[target])
        for key, (package, target) in every.items()
        if isinstance(package.origin, Artifact) and not package.must_build
    }
    check_all(wheels.values(), provider.store, provider.slots)
    return {key: wheel for key, (wheel, _) in wheels.items()}


def _fetched_wheel(package: LockedPackage, origin: Artifact, store: Store) -> Wheel:
    return Wheel(
        name=package.name,
        version=package.version,
        filename=origin.name,
        digest=origin.sha256,
        size=store.size(origin.sha256),
        kind=package.kind,
        origin=origin,
    )


def _build_all(jobs: Mapping[str, Job], fetched: Mapping[str, Wheel], provider: Provider) -> dict[str, Wheel]:
    """Build every job; what earlier runs built is recalled by the same key, so it costs no slot of note."""
    if not jobs:
        return {}
    wheels = dict(fetched)
    reused: set[str] = set()
    began = clock.stopwatch()
    emit = provider.emit

    def work(task: Task) -> Wheel:
        job = jobs[task.key]
        name = f"{job.package.name} {job.package.version}"
        emit(ItemStarted(stage=STAGE, item=name))
        environment = provider.environment(job.target)
        request = BuildRequest(
            package=job.package,
            target=job.target,
            requirements=tuple(wheels[wheel_key(package, job.target.name)] for package in job.requirements),
            settings=_settings(job, provider),
        )
        wheel = recall_wheel(request, environment, provider.store)
        note = "failed"
        try:
            if wheel is not None:
                reused.add(task.key)
            else:
                wheel = build_wheel(request, environment, provider.sources)
            note = "reused" if task.key in reused else ""
        finally:
            emit(ItemFinished(stage=STAGE, item=name, note=note))
            emit(StageAdvanced(stage=STAGE))
        wheels[task.key] = wheel
        return wheel

    schedule = Schedule(_tasks(jobs, provider), memory=provider.memory, slots=provider.slots)
    emit(StageStarted(stage=STAGE, total=len(jobs)))
    outcome = run_schedule(schedule, work)
    if outcome.failures:
        raise _combine(outcome.failures, outcome.given_up)
    built = outcome.results
    if len(reused) < len(built):
        _warn_of_leaks(jobs.values(), provider)
    size = sum(wheel.size for wheel in built.values())
    seconds = clock.stopwatch() - began
    emit(StageFinished(stage=STAGE, seconds=seconds, items=len(built), reused=len(reused), size=size))
    return built


def _settings(job: Job, provider: Provider) -> PackageBuild:
    return provider.settings.packages.get(job.package.name, PackageBuild())


def _tasks(jobs: Mapping[str, Job], provider: Provider) -> list[Task]:
    tasks = []
    for key, job in jobs.items():
        known = provider.store.recall("build-seconds", duration_key(job.package.name, job.target))
        needs = frozenset(wheel_key(package, job.target.name) for package in job.requirements if package.must_build)
        seconds = float(known["seconds"]) if isinstance(known, dict) else _UNKNOWN_SECONDS
        tasks.append(Task(key=key, memory=_settings(job, provider).memory, seconds=seconds, needs=needs))
    return tasks


def _warn_of_leaks(jobs: Iterable[Job], provider: Provider) -> None:
    leaks = sorted({leak for job in jobs for leak in provider.environment(job.target).describe()})
    if leaks:
        provider.emit(
            Warned(
                message=f"builds were not isolated from this host: {', '.join(leaks)}",
                hint="apt-get install bubblewrap, and allow unprivileged user namespaces",
            )
        )


def _combine(failures: Mapping[str, BundlerError], given_up: Mapping[str, str]) -> BundlerError:
    """Return one error for all failed builds: the only one as it is, several as problems of one."""
    if len(failures) == 1 and not given_up:
        return next(iter(failures.values()))
    problems: list[Problem] = []
    for _, error in sorted(failures.items()):
        # The hint says where log and tree are: on a line of its own, because the log's last one may be long.
        what = f"{error.message}\n  {error.hint}" if error.hint else error.message
        problems += [Problem(where="", what=what), *error.problems]
    for key, cause in sorted(given_up.items()):
        what = f"not built: it needs {' '.join(cause.split()[:2])}"
        problems.append(Problem(where=" ".join(key.split()[:3]), what=what))
    message = f"{len(failures)} builds failed"
    return WheelBuildFailed(message, hint="what was built is kept: a rerun goes on from there", problems=problems)

"""From a lock to wheels: fetch every file, check what was fetched, build what must be built, all of it in the store.

Every problem of every package is reported, not the first one: a failed build stops only those that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bundler.model.lock import Artifact, BuildLock, GitSource, Lock, LockedPackage
from bundler.model.target import Target
from bundler.model.wheel import Wheel, WheelSet
from bundler.store.cas import Store
from bundler.wheels.builds import build_all
from bundler.wheels.needed import artifacts, expand, git_sources, wheel_key
from bundler.wheels.verdicts import check_all
from bundler.wheels.workshop import Workshop


def nothing_to_fetch(_items: object) -> None:
    """Fetch nothing: everything is in the store."""


@dataclass(frozen=True, kw_only=True)
class Provider(Workshop):
    """What providing wheels needs.

    ``fetch`` brings files into the store, ``fetch_git`` updates mirrors; both take all items at once.
    """

    targets: Mapping[str, Target]
    fetch: Callable[[Sequence[Artifact]], object] = nothing_to_fetch
    fetch_git: Callable[[Sequence[GitSource]], object] = nothing_to_fetch


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
    wheels.update(build_all(jobs, wheels, provider))
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

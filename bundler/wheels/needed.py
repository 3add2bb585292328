"""What a lock needs in all: packages, the build requirements of those that must be built, and their files. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bundler.errors import LockInvalid, Problem
from bundler.model.lock import Artifact, BuildLock, GitSource, LockedPackage
from bundler.model.target import Target
from bundler.store.cas import key_of
from bundler.wheels.source import source_identity


@dataclass(frozen=True, kw_only=True)
class Job:
    """A package to build for a target, and what its build venv holds."""

    package: LockedPackage
    target: Target
    requirements: tuple[LockedPackage, ...]


def wheel_key(package: LockedPackage, target: str) -> str:
    """Return what names the wheel of ``package`` on ``target`` within one run; starts with name and version."""
    return f"{package.name} {package.version} {target} {key_of(source_identity(package))[:12]}"


def expand(
    wanted: Iterable[tuple[LockedPackage, str]], builds: Sequence[BuildLock], targets: Mapping[str, Target]
) -> tuple[dict[str, tuple[LockedPackage, str]], dict[str, Job]]:
    """Return everything needed, by key: ``wanted`` and, for what must be built, its build requirements in turn.

    The second value holds what must be built.

    Raises:
        LockInvalid: Build requirements are not locked, or a target is unknown; all are reported.
    """
    locked = {(entry.package, entry.version, entry.target): entry for entry in builds}
    every: dict[str, tuple[LockedPackage, str]] = {}
    jobs: dict[str, Job] = {}
    problems: list[Problem] = []
    left = list(wanted)
    while left:
        package, target = left.pop()
        key = wheel_key(package, target)
        if key in every:
            continue
        every[key] = (package, target)
        if target not in targets:
            problems.append(
                Problem(where=f"{package.name} {package.version}", what=f"is for unknown target {target}")
            )
        elif package.must_build:
            entry = locked.get((package.name, package.version, target))
            if entry is None:
                where = f"{package.name} {package.version} for {target}"
                problems.append(Problem(where=where, what="has no locked build requirements"))
                continue
            jobs[key] = Job(package=package, target=targets[target], requirements=entry.packages)
            left += [(requirement, target) for requirement in entry.packages]
    if problems:
        raise LockInvalid("the lock is incomplete", hint="lock again", problems=problems)
    return every, jobs


def artifacts(packages: Iterable[LockedPackage]) -> list[Artifact]:
    """Return the distinct files of ``packages``, sorted."""
    found = {package.origin for package in packages if isinstance(package.origin, Artifact)}
    return sorted(found, key=lambda artifact: (artifact.name, artifact.sha256, artifact.url))


def git_sources(packages: Iterable[LockedPackage]) -> list[GitSource]:
    """Return the distinct commits of ``packages``, sorted."""
    found = {package.origin for package in packages if isinstance(package.origin, GitSource)}
    return sorted(found, key=lambda source: (source.url, source.commit, source.subdirectory))

"""What changed from one lock to another, per venv and target. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from bundler.model.lock import Artifact, DirectorySource, GitSource, Lock, LockedPackage

Change: TypeAlias = Literal["added", "removed", "changed"]


@dataclass(frozen=True, kw_only=True)
class PackageChange:
    """One package: ``old`` or ``new`` is empty where it was added or removed."""

    change: Change
    name: str
    old: str = ""
    new: str = ""


@dataclass(frozen=True, kw_only=True)
class VenvDiff:
    """The changes of one venv on one target, sorted by name."""

    venv: str
    target: str
    changes: tuple[PackageChange, ...]


@dataclass(frozen=True, kw_only=True)
class LockDiff:
    """All changes; venvs that did not change are left out."""

    old_sequence: int
    new_sequence: int
    venvs: tuple[VenvDiff, ...]

    def to_data(self) -> dict[str, Any]:
        """Return the changes as JSON values."""
        return asdict(self)


def diff_locks(old: Lock, new: Lock) -> LockDiff:
    """Return what ``new`` has that ``old`` has not, and the other way round."""
    before = {(venv.venv, venv.target): venv.packages for venv in old.carried}
    after = {(venv.venv, venv.target): venv.packages for venv in new.carried}
    diffs = []
    for key in sorted({*before, *after}):
        changes = _changes(_by_name(before.get(key, ())), _by_name(after.get(key, ())))
        if changes:
            diffs.append(VenvDiff(venv=key[0], target=key[1], changes=changes))
    return LockDiff(old_sequence=old.sequence, new_sequence=new.sequence, venvs=tuple(diffs))


def describe(package: LockedPackage) -> str:
    """Return the version, with the commit or kind where it is no plain wheel."""
    if isinstance(package.origin, GitSource):
        return f"{package.version} (git {package.origin.commit[:12]})"
    if isinstance(package.origin, DirectorySource):
        return f"{package.version} (directory {package.origin.sha256[:12]})"
    return package.version


def _changes(old: Mapping[str, LockedPackage], new: Mapping[str, LockedPackage]) -> tuple[PackageChange, ...]:
    found = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before is None and after is not None:
            found.append(PackageChange(change="added", name=name, new=describe(after)))
        elif after is None and before is not None:
            found.append(PackageChange(change="removed", name=name, old=describe(before)))
        elif before is not None and after is not None and _identity(before) != _identity(after):
            found.append(
                PackageChange(change="changed", name=name, old=_told(before, after), new=_told(after, before))
            )
    return tuple(found)


def _told(package: LockedPackage, other: LockedPackage) -> str:
    """Return what tells ``package`` from ``other``: the file where the versions are the same."""
    own = describe(package)
    if own != describe(other) or not isinstance(package.origin, Artifact):
        return own
    return f"{own} ({package.origin.name} {package.origin.sha256[:12]})"


def _identity(package: LockedPackage) -> tuple[str, ...]:
    origin = package.origin
    if isinstance(origin, GitSource):
        return package.version, origin.commit, origin.subdirectory
    return package.version, origin.sha256


def _by_name(packages: tuple[LockedPackage, ...]) -> dict[str, LockedPackage]:
    return {package.name: package for package in packages}

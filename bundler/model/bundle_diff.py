"""What changed from one bundle to another: packages per venv and target, files, and the blobs a site lacks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from bundler.model.contents import BlobEntry, Contents, FileEntry, PackageEntry, VenvEntry
from bundler.model.inspection import is_wheel

#: ``rebuilt``: the same version, another wheel. ``relayered``: the same wheel, other layers.
PackageMove: TypeAlias = Literal["added", "removed", "upgraded", "downgraded", "rebuilt", "relayered"]
Move: TypeAlias = Literal["added", "removed", "changed"]
#: A venv on a target; the venv is empty for wheels that no venv holds.
Place: TypeAlias = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class PackageChange:
    """One package in one place: its versions and its wheels' digests; empty where there is none."""

    change: PackageMove
    name: str
    old: str = ""
    new: str = ""
    old_wheel: str = ""
    new_wheel: str = ""


@dataclass(frozen=True, kw_only=True)
class FactChange:
    """Another fact of a venv that changed, such as its Python or its install path."""

    fact: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class VenvChange:
    """The changes of one venv on one target; ``venv`` is empty for wheels that no venv holds."""

    venv: str
    target: str
    change: Move
    packages: tuple[PackageChange, ...]
    facts: tuple[FactChange, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """A file or link of a repo host: digest (or ``-> target``) and size before and after."""

    change: Move
    path: str
    old: str = ""
    new: str = ""
    old_size: int = 0
    new_size: int = 0


@dataclass(frozen=True, kw_only=True)
class Needed:
    """Blobs that a site with the old bundle lacks for one target (empty: for all of them).

    ``size`` counts their bytes, ``packed`` those of their frames on the medium; ``elsewhere`` counts the blobs that
    the new bundle does not carry either (its base has them).
    """

    target: str
    blobs: int
    size: int
    packed: int
    elsewhere: int


@dataclass(frozen=True, kw_only=True)
class GroupedChange:
    """One and the same change of a package, with everywhere it happened."""

    change: PackageMove
    name: str
    old: str
    new: str
    venvs: tuple[str, ...]
    targets: tuple[str, ...]
    wheels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BundleDiff:
    """All changes; what did not change is left out. ``needed`` begins with the sum over all targets."""

    old: str
    new: str
    targets_added: tuple[str, ...]
    targets_removed: tuple[str, ...]
    venvs: tuple[VenvChange, ...]
    files: tuple[FileChange, ...]
    needed: tuple[Needed, ...]

    @property
    def differs(self) -> bool:
        """Return whether a site that takes the new one would hold anything else than before."""
        return bool(self.targets_added or self.targets_removed or self.venvs or self.files)

    def to_data(self) -> dict[str, Any]:
        """Return it as JSON values; documented in ``docs/reference/looking.md``."""
        return {**asdict(self), "differs": self.differs}


def diff_contents(old: Contents, new: Contents) -> BundleDiff:
    """Return what ``new`` has that ``old`` has not, and the other way round."""
    before, after = ({target.name for target in one.targets} for one in (old, new))
    return BundleDiff(
        old=old.id,
        new=new.id,
        targets_added=tuple(sorted(after - before)),
        targets_removed=tuple(sorted(before - after)),
        venvs=tuple(_venvs(old, new)),
        files=tuple(_files(_paths(old), _paths(new))),
        needed=tuple(_needed(old, new)),
    )


def group_changes(venvs: Iterable[VenvChange]) -> tuple[GroupedChange, ...]:
    """Return each change of a package once, sorted by name, with the venvs and targets where it happened."""
    found: dict[tuple[str, str, str, PackageMove], list[tuple[VenvChange, PackageChange]]] = {}
    for venv in venvs:
        for one in venv.packages:
            found.setdefault((one.name, one.old, one.new, one.change), []).append((venv, one))
    return tuple(
        GroupedChange(
            change=change,
            name=name,
            old=old,
            new=new,
            venvs=tuple(sorted({venv.venv for venv, _ in where})),
            targets=tuple(sorted({venv.target for venv, _ in where})),
            wheels=tuple(sorted({one.new_wheel for _, one in where if one.new_wheel})),
        )
        for (name, old, new, change), where in sorted(found.items())
    )


def packages_by_place(contents: Contents) -> dict[Place, dict[str, PackageEntry]]:
    """Return the packages of every venv on every target, and under an empty name wheels that no venv there holds."""
    found: dict[Place, dict[str, PackageEntry]] = {
        (venv.name, venv.target): {package.name: package for package in venv.packages} for venv in contents.venvs
    }
    held = {(venv.target, package.wheel_sha256) for venv in contents.venvs for package in venv.packages}
    for file in filter(is_wheel, contents.files):
        for target in file.targets:
            if (target, file.sha256) not in held:
                package = _loose(file)
                others = found.setdefault(("", target), {})
                others[package.wheel if package.name in others else package.name] = package
    return found


def _loose(file: FileEntry) -> PackageEntry:
    filename = file.path.rpartition("/")[2]
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return PackageEntry(name=filename, version="", wheel=filename, wheel_sha256=file.sha256, layers=(), kind="")
    return PackageEntry(name=name, version=str(version), wheel=filename, wheel_sha256=file.sha256, layers=(), kind="")


def _venvs(old: Contents, new: Contents) -> Iterable[VenvChange]:
    before, after = packages_by_place(old), packages_by_place(new)
    old_venvs = {(venv.name, venv.target): venv for venv in old.venvs}
    new_venvs = {(venv.name, venv.target): venv for venv in new.venvs}
    for place in sorted({*before, *after}):
        packages = tuple(_packages(before.get(place, {}), after.get(place, {})))
        facts: tuple[FactChange, ...] = ()
        if place in old_venvs and place in new_venvs:
            facts = tuple(_facts(old_venvs[place], new_venvs[place]))
        move: Move = "added" if place not in before else "removed" if place not in after else "changed"
        if packages or facts or move != "changed":
            yield VenvChange(venv=place[0], target=place[1], change=move, packages=packages, facts=facts)


def _packages(old: Mapping[str, PackageEntry], new: Mapping[str, PackageEntry]) -> Iterable[PackageChange]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        change = _move(before, after)
        if change is not None:
            yield PackageChange(
                change=change,
                name=name,
                old=before.version if before else "",
                new=after.version if after else "",
                old_wheel=before.wheel_sha256 if before else "",
                new_wheel=after.wheel_sha256 if after else "",
            )


def _move(old: PackageEntry | None, new: PackageEntry | None) -> PackageMove | None:
    if old is None or new is None:
        return "added" if old is None else "removed"
    if old.version != new.version:
        return "downgraded" if _older(new.version, old.version) else "upgraded"
    if old.wheel_sha256 != new.wheel_sha256:
        return "rebuilt"
    return None if old.layers == new.layers else "relayered"


def _older(one: str, other: str) -> bool:
    try:
        return Version(one) < Version(other)
    except InvalidVersion:
        return False


def _facts(old: VenvEntry, new: VenvEntry) -> Iterable[FactChange]:
    facts = {
        "python": (old.python, new.python),
        "install path": (old.install_path, new.install_path),
        "console scripts": (_without(old.console_scripts, new), _without(new.console_scripts, old)),
        "distro packages": (" ".join(old.runtime_packages), " ".join(new.runtime_packages)),
        "proof": (_proof(old), _proof(new)),
    }
    for fact, (before, after) in facts.items():
        if before != after:
            yield FactChange(fact=fact, old=before, new=after)


def _without(scripts: Iterable[str], other: VenvEntry) -> str:
    return " ".join(name for name in scripts if name not in other.console_scripts)


def _proof(venv: VenvEntry) -> str:
    proof = venv.proof
    result = "passed" if proof.passed else "not passed"
    return f"{proof.level}, {result}, {proof.allowed} failures allowed"


#: Identity, as shown, and size of what lies at a path.
_Thing: TypeAlias = tuple[tuple[object, ...], str, int]


def _paths(contents: Contents) -> dict[str, _Thing]:
    found: dict[str, _Thing] = {
        file.path: ((file.sha256, file.mode, file.targets), file.sha256, file.size) for file in contents.files
    }
    found |= {link.path: ((link.to, link.targets), f"-> {link.to}", 0) for link in contents.links}
    return found


def _files(old: Mapping[str, _Thing], new: Mapping[str, _Thing]) -> Iterable[FileChange]:
    nothing: _Thing = ((), "", 0)
    for path in sorted({*old, *new}):
        before, after = old.get(path, nothing), new.get(path, nothing)
        if before[0] != after[0]:
            yield FileChange(
                change="added" if path not in old else "removed" if path not in new else "changed",
                path=path,
                old=before[1],
                new=after[1],
                old_size=before[2],
                new_size=after[2],
            )


def _needed(old: Contents, new: Contents) -> Iterable[Needed]:
    has = {digest for file in old.files for digest in file.blobs}
    carried = {blob.sha256: blob for volume in new.volumes for blob in volume.blobs}
    for target in ("", *(entry.name for entry in new.targets)):
        wanted = {digest for file in new.files if not target or target in file.targets for digest in file.blobs}
        yield _sum(target, wanted - has, carried)


def _sum(target: str, lacking: set[str], carried: Mapping[str, BlobEntry]) -> Needed:
    blobs = [carried[digest] for digest in lacking if digest in carried]
    return Needed(
        target=target,
        blobs=len(blobs),
        size=sum(blob.size for blob in blobs),
        packed=sum(blob.length for blob in blobs),
        elsewhere=len(lacking) - len(blobs),
    )

"""PEP 751: one lock file per venv and target, chosen files only, which stock pip and uv install from.

What the format has no field for stands in ``[packages.tool.bundle]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

import tomli
import tomli_w
from packaging.markers import Marker
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockUnsupportedVersionError,
    PylockValidationError,
)
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from bundler.errors import LockInvalid
from bundler.model.lock import Artifact, DirectorySource, GitSource, Kind, LockedPackage
from bundler.model.target import Target
from bundler.model.wheel import Wheel

CREATED_BY = "bundle-build"
_TOOL = "bundle"


def environment_marker(target: Target) -> str:
    """Return the marker that holds on ``target`` and on every system with its architecture and Python."""
    return (
        f"sys_platform == 'linux' and platform_machine == '{target.arch}'"
        f" and implementation_name == 'cpython' and platform_python_implementation == 'CPython'"
        f" and python_version == '{target.python.version}'"
    )


def pylock_text(packages: Sequence[LockedPackage], target: Target) -> str:
    """Return the source lock: where each chosen file is on its index, or the commit of a repository."""
    return _document((_package(one) for one in packages), target)


def built_pylock_text(
    packages: Sequence[LockedPackage], wheels: Sequence[Wheel], target: Target, folder: str = "../wheels"
) -> str:
    """Return the built lock: hashes and relative paths of the wheels that resulted, no address at all."""
    chosen = {wheel.name: wheel for wheel in wheels}
    return _document((_built(one, chosen[one.name], folder) for one in packages), target)


def _document(packages: Iterable[Package], target: Target) -> str:
    lock = Pylock(
        lock_version=Version("1.0"),
        environments=[Marker(environment_marker(target))],
        requires_python=SpecifierSet(f"=={target.python.version}.*"),
        created_by=CREATED_BY,
        packages=list(packages),
    )
    return tomli_w.dumps(lock.to_dict(), multiline_strings=False)


def _package(package: LockedPackage) -> Package:
    base = Package(
        name=NormalizedName(package.name),
        version=Version(package.version),
        dependencies=[{"name": name} for name in package.dependencies] or None,
        tool=_tool(package),
    )
    origin = package.origin
    if isinstance(origin, GitSource):
        vcs = PackageVcs(
            type="git",
            url=origin.url,
            requested_revision=origin.requested_revision or None,
            commit_id=origin.commit,
            subdirectory=origin.subdirectory or None,
        )
        return replace(base, vcs=vcs)
    if isinstance(origin, DirectorySource):
        return replace(base, directory=PackageDirectory(path=origin.path))
    return _with_file(base, package.kind, origin)


def _with_file(base: Package, kind: Kind, file: Artifact) -> Package:
    local = _local_path(file.url)
    place: dict[str, Any] = {"url": None if local else file.url, "path": local, "size": file.size}
    place["hashes"] = {"sha256": file.sha256}
    if kind == "wheel":
        named = replace(base, wheels=[PackageWheel(name=file.name, **place)])
    else:
        named = replace(base, sdist=PackageSdist(name=file.name, **place))
    if _valid(named):
        return named
    # A direct address whose last part is no proper file name of the package.
    tool = {_TOOL: {**(base.tool or {}).get(_TOOL, {}), "file": file.name}}
    return replace(base, tool=tool, archive=PackageArchive(**place))


def _local_path(url: str) -> str | None:
    """Return the path of a relative ``file:`` address: relative to the manifest, as that of a directory is."""
    path = url.removeprefix("file:")
    return unquote(path) if path != url and not path.startswith("/") else None


def _valid(package: Package) -> bool:
    lock = Pylock(lock_version=Version("1.0"), created_by=CREATED_BY, packages=[package])
    try:
        lock.validate()
    except PylockValidationError:
        return False
    return True


def _tool(package: LockedPackage) -> dict[str, Any] | None:
    table: dict[str, Any] = {}
    if package.requested:
        table["requested"] = True
    if package.yanked:
        table["yanked"] = package.yanked
    if isinstance(package.origin, GitSource) and package.origin.submodules:
        table["submodules"] = True
    if isinstance(package.origin, DirectorySource):
        table["sha256"] = package.origin.sha256
    return {_TOOL: table} if table else None


def _built(package: LockedPackage, wheel: Wheel, folder: str) -> Package:
    path = f"{folder}/{wheel.filename}"
    return Package(
        name=NormalizedName(package.name),
        version=Version(wheel.version),
        dependencies=[{"name": name} for name in package.dependencies] or None,
        wheels=[PackageWheel(name=wheel.filename, path=path, size=wheel.size, hashes={"sha256": wheel.digest})],
    )


def read_pylock(text: str, where: str) -> tuple[LockedPackage, ...]:
    """Return the packages of a source lock of ours.

    Raises:
        LockInvalid: It is not what we write.
    """
    try:
        lock = Pylock.from_dict(tomli.loads(text))
        return tuple(_locked(package) for package in lock.packages)
    except (
        tomli.TOMLDecodeError,
        PylockValidationError,
        PylockUnsupportedVersionError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise LockInvalid(f"{where}: {error}", hint="restore the lock, or delete it and lock again") from error


def _locked(package: Package) -> LockedPackage:
    own: Mapping[str, Any] = (package.tool or {}).get(_TOOL, {})
    kind, origin = _origin(package, own)
    return LockedPackage(
        name=package.name,
        version=str(package.version),
        kind=kind,
        origin=origin,
        requested=bool(own.get("requested", False)),
        dependencies=tuple(str(one["name"]) for one in package.dependencies or ()),
        yanked=str(own.get("yanked", "")),
    )


def _origin(package: Package, own: Mapping[str, Any]) -> tuple[Kind, Artifact | GitSource | DirectorySource]:
    if package.vcs is not None:
        return "git", GitSource(
            url=package.vcs.url or "",
            commit=package.vcs.commit_id,
            requested_revision=package.vcs.requested_revision or "",
            subdirectory=package.vcs.subdirectory or "",
            submodules=bool(own.get("submodules", False)),
        )
    if package.directory is not None:
        return "directory", DirectorySource(path=package.directory.path, sha256=str(own["sha256"]))
    if package.archive is not None:
        name = str(own["file"])
        return ("wheel" if name.endswith(".whl") else "sdist"), _artifact(name, package.archive)
    if package.sdist is not None:
        return "sdist", _artifact(package.sdist.filename, package.sdist)
    wheel = (package.wheels or ())[0]
    return "wheel", _artifact(wheel.filename, wheel)


def _artifact(name: str, file: PackageArchive | PackageSdist | PackageWheel) -> Artifact:
    url = f"file:{quote(file.path)}" if file.path else file.url or ""
    return Artifact(name=name, url=url, sha256=file.hashes["sha256"], size=file.size)

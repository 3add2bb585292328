"""The project file that uv resolves, and what its answer says. Pure.

uv reads bindings of packages to indexes and the environments to solve for from pyproject.toml only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import tomli
import tomli_w
from packaging.pylock import Package, Pylock, PylockUnsupportedVersionError, PylockValidationError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundler.errors import ResolutionFailed
from bundler.model.index import IndexConfig, IndexSpec
from bundler.model.lock import Artifact, GitSource
from bundler.model.pylock import environment_marker
from bundler.model.target import Target
from bundler.resolve.port import Resolved, ResolveRequest

#: What uv's messages call the requirements of the venvs.
PROJECT = "bundle-requirements"
_YANKED = re.compile(
    r"^warning: `(?P<name>[^=`]+)==(?P<version>[^`]+)` is yanked(?: \(reason: \"(?P<reason>.*)\"\))?"
)


def full_key(target: Target) -> tuple[int, ...]:
    """Return the target's Python version as numbers."""
    return tuple(int(part) for part in re.findall(r"\d+", target.python.full_version)[:3])


def oldest_python(targets: Iterable[Target]) -> str:
    """Return the oldest Python of ``targets``, with its patch level."""
    return min(targets, key=full_key).python.full_version


def environments(targets: Iterable[Target]) -> list[str]:
    """Return markers of the environments to solve for, no two of which overlap."""
    oldest: dict[tuple[str, str], Target] = {}
    for target in sorted(targets, key=full_key, reverse=True):
        oldest[target.arch, target.python.version] = target
    return [
        f"{environment_marker(target)} and python_full_version >= '{target.python.full_version}'"
        for _, target in sorted(oldest.items())
    ]


def project_text(
    request: ResolveRequest,
    forced: Iterable[str],
    nowhere: str,
    *,
    everywhere: bool = False,
    told: Iterable[Mapping[str, Any]] = (),
) -> str:
    """Return the project file for ``request``.

    ``forced`` are names that become requirements so that their binding holds; ``nowhere`` is the URL of an empty
    index, which stands in where no index may be used for packages that are not bound. ``everywhere`` solves for all
    systems instead of the targets'. ``told`` are tables of metadata that uv may not find out by building.
    """
    bound = request.indexes.bound()
    direct = direct_names(request.requirements)
    names = sorted(set(forced) | {name for name in bound if direct.get(name)})
    document = {
        "project": {
            "name": PROJECT,
            "version": "0",
            "requires-python": f">={oldest_python(request.targets)}",
            "dependencies": [*request.requirements, *sorted(forced)],
        },
        "tool": {
            "uv": {
                "environments": [] if everywhere else environments(request.targets),
                "sources": {name: {"index": bound[name].name} for name in names},
                "index": _indexes(request.indexes, nowhere),
                "dependency-metadata": list(told),
            }
        },
    }
    return tomli_w.dumps(document)


def direct_names(requirements: Iterable[str]) -> dict[str, bool]:
    """Return the names that are asked for, and whether an index is to provide them."""
    found: dict[str, bool] = {}
    for line in requirements:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        found[name] = found.get(name, True) and requirement.url is None
    return found


def _indexes(config: IndexConfig, nowhere: str) -> list[dict[str, Any]]:
    named = [index for index in config.indexes if index.url is not None]
    tables = [_index(index) for index in named]
    free = [table for table in tables if "explicit" not in table]
    if any(index.url is None for index in config.indexes):
        return tables
    if free:
        free[-1]["default"] = True
    else:
        tables.append({"name": "nowhere", "url": nowhere, "default": True})
    return tables


def _index(index: IndexSpec) -> dict[str, Any]:
    table: dict[str, Any] = {"name": index.name, "url": index.url}
    if index.packages:
        table["explicit"] = True
    return table


def preferences_text(previous: Iterable[tuple[str, str]]) -> str:
    """Return a pylock.toml that holds nothing but versions: uv prefers what its output file names."""
    packages = [{"name": name, "version": version} for name, version in sorted(previous)]
    return tomli_w.dumps({"lock-version": "1.0", "created-by": "bundle-build", "packages": packages})


def read_answer(text: str, stderr: str) -> tuple[Resolved, ...]:
    """Return the packages of the pylock.toml in ``text``; reasons for yanking are in ``stderr``.

    Raises:
        ResolutionFailed: It is not what PEP 751 says.
    """
    yanked = yanked_versions(stderr)
    try:
        lock = Pylock.from_dict(tomli.loads(text))
    except (tomli.TOMLDecodeError, PylockValidationError, PylockUnsupportedVersionError) as error:
        raise ResolutionFailed(
            f"uv's answer cannot be read: {error}", hint="install the version of uv that the project locks"
        ) from error
    found = (_resolved(package, yanked) for package in lock.packages)
    return tuple(sorted(found, key=lambda one: (one.name, one.version, one.marker)))


def yanked_versions(stderr: str) -> dict[tuple[str, str], str]:
    """Return the reasons of withdrawn versions that uv warns of."""
    matches = filter(None, map(_YANKED.match, stderr.splitlines()))
    return {
        (str(canonicalize_name(match["name"])), match["version"]): match["reason"] or "no reason given"
        for match in matches
    }


def _resolved(package: Package, yanked: dict[tuple[str, str], str]) -> Resolved:
    version = str(package.version or "")
    wheels, sdist = _files(package)
    return Resolved(
        name=package.name,
        version=version,
        marker=str(package.marker or ""),
        wheels=tuple(wheels),
        sdist=sdist,
        git=_git(package),
        directory=Path(package.directory.path) if package.directory else None,
        index=without_credentials(package.index or ""),
        yanked=yanked.get((package.name, version), ""),
    )


def _files(package: Package) -> tuple[list[Artifact], Artifact | None]:
    if package.archive is not None:
        archive = artifact(package.archive.url, package.archive.path, package.archive.hashes)
        is_wheel = archive is not None and archive.name.endswith(".whl")
        return ([archive], None) if archive is not None and is_wheel else ([], archive)
    offered: Sequence[Any] = package.wheels or ()
    wheels = [artifact(one.url, one.path, one.hashes, one.size) for one in offered]
    sdist = package.sdist
    source = artifact(sdist.url, sdist.path, sdist.hashes, sdist.size) if sdist else None
    return [wheel for wheel in wheels if wheel is not None], source


def _git(package: Package) -> GitSource | None:
    if package.vcs is None:
        return None
    return GitSource(
        url=without_credentials(package.vcs.url or package.vcs.path or ""),
        commit=package.vcs.commit_id,
        requested_revision=package.vcs.requested_revision or "",
        subdirectory=package.vcs.subdirectory or "",
    )


def artifact(url: str | None, path: str | None, hashes: Any, size: int | None = None) -> Artifact | None:
    """Return the file, or None where it has no sha256 that could be checked."""
    digest = hashes.get("sha256")
    if digest is None:
        return None
    address = without_credentials(url) if url else Path(path or "").as_uri()
    name = unquote(urlsplit(address).path.rsplit("/", 1)[-1])
    return Artifact(name=name, url=address, sha256=digest.lower(), size=size)


def without_credentials(url: str) -> str:
    """Return ``url`` without user and password; the user of an SSH address stays."""
    parts = urlsplit(url)
    user, mark, host = parts.netloc.rpartition("@")
    if not mark:
        return url
    name = user.partition(":")[0]
    kept = f"{name}@{host}" if parts.scheme in ("ssh", "git+ssh") else host
    return parts._replace(netloc=kept).geturl()

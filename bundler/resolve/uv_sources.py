"""Keeping uv from building sources: what stops it, what it says then, and how it is told what it asks for. Pure.

uv builds a source to learn its metadata: on this host, outside any build environment. Its ``--no-build`` is no help:
it takes an older version with a wheel instead, and has no ear for metadata. So uv may start a build, with its own
isolation off, and the interpreter that it starts for that ends at once (:data:`GUARD`, found through PYTHONPATH; the
one that reads the interpreter's facts is started with -I and does not look there). git may reach nothing either.
What uv then could not build is told to it as ``tool.uv.dependency-metadata``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bundler.errors import Problem, ResolutionFailed
from bundler.model.constraint_lines import logical_lines
from bundler.model.lock import GitSource
from bundler.model.requirement import parse_requirement
from bundler.model.target import Target
from bundler.resolve.port import ResolveRequest, SourceMetadata

#: The module's name by which Python runs it before anything else, and its text.
GUARD_NAME = "sitecustomize.py"
_MARK = "bundle-build: nothing is built while resolving"
GUARD = f'import os\nos.write(2, b"{_MARK}\\n")\nos._exit(77)\n'
#: What goes into uv's environment besides PYTHONPATH: git is ours alone, with retries and the right credentials.
NO_GIT = MappingProxyType({"GIT_ALLOW_PROTOCOL": "none", "UV_NO_GITHUB_FAST_PATH": "true"})
_FAILED = re.compile(r"Failed to (?:download and )?build `(?P<what>[^`]+)`")
_GIT = "git+"


@dataclass(frozen=True, order=True)
class Source:
    """What uv would have to build: a version of a package of an index, or a direct reference (PEP 508)."""

    name: str
    version: str = ""
    reference: str = ""

    @property
    def line(self) -> str:
        """Return it as a requirement."""
        return f"{self.name} @ {self.reference}" if self.reference else f"{self.name}=={self.version}"

    @property
    def git(self) -> GitSource | None:
        """Return the commit, where it is one of a git repository."""
        if not self.reference.startswith(_GIT):
            return None
        found = parse_requirement(self.line).git
        if found is None:
            return None
        return GitSource(url=found.url, commit=found.revision, subdirectory=found.subdirectory)


def unbuilt(stderr: str) -> Source | None:
    """Return the source that uv was kept from building, or None where it failed for another reason."""
    match = _FAILED.search(stderr)
    if match is None:
        return None
    try:
        wanted = Requirement(match["what"])
    except InvalidRequirement:
        return None
    name = str(canonicalize_name(wanted.name))
    if not (_MARK in stderr or (wanted.url or "").startswith(_GIT)):
        return None
    if wanted.url:
        return Source(name, reference=wanted.url)
    return Source(name, version=match["what"].partition("==")[2])


def references(request: ResolveRequest) -> tuple[Source, ...]:
    """Return the direct references of requirements and constraints that hold on a target, each once; no wheels."""
    lines = [*request.requirements, *(line for _, line in logical_lines(request.constraints) if " @ " in line)]
    found = (_reference(line, request.targets) for line in lines)
    return tuple(dict.fromkeys(source for source in found if source is not None))


def _reference(line: str, targets: Iterable[Target]) -> Source | None:
    wanted = Requirement(line)
    if wanted.url is None or wanted.url.partition("#")[0].endswith(".whl"):
        return None
    if not any(_applies(wanted.marker, target) for target in targets):
        return None
    return Source(str(canonicalize_name(wanted.name)), reference=wanted.url)


def _applies(marker: Marker | None, target: Target) -> bool:
    return marker is None or marker.evaluate(dict(target.markers))


def stand_in(source: Source) -> SourceMetadata:
    """Return metadata that requires nothing: in it uv finds the files of ``source`` without building it."""
    return SourceMetadata(name=source.name, version=source.version or "0")


def dependency_metadata(known: Iterable[tuple[Source, SourceMetadata]]) -> list[dict[str, Any]]:
    """Return the tables that tell uv what it may not find out.

    Raises:
        ResolutionFailed: A package has a direct reference and other metadata elsewhere: uv would mix them up.
    """
    by_name: dict[str, list[tuple[Source, SourceMetadata]]] = {}
    for source, metadata in known:
        by_name.setdefault(source.name, []).append((source, metadata))
    mixed = [name for name, entries in by_name.items() if _is_mixed(entries)]
    if mixed:
        raise ResolutionFailed(
            "packages come from several sources that must be asked what they need: uv takes one for the other",
            hint="take each from one place on all targets, or lock the targets by manifests of their own",
            problems=[_places(name, (source for source, _ in by_name[name])) for name in sorted(mixed)],
        )
    return list(_tables(by_name))


def _is_mixed(entries: list[tuple[Source, SourceMetadata]]) -> bool:
    told = {(one.version, one.requires_dist, one.requires_python, one.provides_extra) for _, one in entries}
    return len(told) > 1 and any(source.reference for source, _ in entries)


def _places(name: str, sources: Iterable[Source]) -> Problem:
    places = (one.reference or f"version {one.version} of an index" for one in sources)
    return Problem(where=name, what=" and ".join(sorted(places)))


def _tables(by_name: dict[str, list[tuple[Source, SourceMetadata]]]) -> Iterator[dict[str, Any]]:
    for name in sorted(by_name):
        versions = {metadata.version: metadata for _, metadata in by_name[name]}
        for version in sorted(versions):
            one = versions[version]
            yield {
                "name": name,
                "version": version,
                "requires-dist": list(one.requires_dist),
                **({"requires-python": one.requires_python} if one.requires_python else {}),
                **({"provides-extra": list(one.provides_extra)} if one.provides_extra else {}),
            }

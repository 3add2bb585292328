"""The exact subset of a joint resolution that one venv needs on one target. Pure.

From the venv's requirements, follow Requires-Dist of the chosen files with the markers and extras of the target,
as an installer would (core metadata specification; PEP 508, environment markers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from bundler.errors import MetadataError, Problem, ResolutionFailed
from bundler.model.lock import LockedPackage
from bundler.model.target import Target


@dataclass(frozen=True, kw_only=True)
class CoreMeta:
    """What the walk reads of a package's core metadata."""

    version: str
    name: str = ""
    requires_dist: tuple[str, ...] = ()
    requires_python: str = ""
    provides_extra: tuple[str, ...] = ()

    @cached_property
    def requirements(self) -> tuple[Requirement, ...]:
        """Return Requires-Dist, parsed."""
        return tuple(Requirement(line) for line in self.requires_dist)


CoreMetaOf: TypeAlias = Callable[[LockedPackage], CoreMeta]
#: Name and extras of one dependency, with the text that asks for it.
Edge: TypeAlias = tuple[str, tuple[str, ...], Requirement]


def parse_core_metadata(data: bytes, where: str) -> CoreMeta:
    """Return what the walk needs of the METADATA or PKG-INFO in ``data``.

    Raises:
        MetadataError: It has no version, or requirements that do not parse.
    """
    head = data.replace(b"\r\n", b"\n").split(b"\n\n", 1)[0]
    raw, _ = parse_email(head)
    meta = CoreMeta(
        version=raw.get("version", ""),
        name=raw.get("name", ""),
        requires_dist=tuple(raw.get("requires_dist", ())),
        requires_python=raw.get("requires_python", ""),
        provides_extra=tuple(canonicalize_name(extra) for extra in raw.get("provides_extra", ())),
    )
    if not meta.version:
        raise MetadataError(f"{where}: its core metadata has no version")
    try:
        meta.requirements  # noqa: B018 - parse now, so that a bad line is an error of this file
        SpecifierSet(meta.requires_python)
    except (InvalidRequirement, InvalidSpecifier) as error:
        raise MetadataError(
            f"{where}: its core metadata does not parse: {error}", hint="constrain the package to another version"
        ) from error
    return meta


def applies(requirement: Requirement, target: Target, extra: str) -> bool:
    """Return whether a package with ``extra`` (empty: with none) asks for ``requirement`` on ``target``.

    Raises:
        MetadataError: Its marker cannot be evaluated.
    """
    if requirement.marker is None:
        return not extra
    try:
        return requirement.marker.evaluate({**target.markers, "extra": extra})
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise MetadataError(f"{requirement}: the marker cannot be evaluated: {error}") from error


class Walker:
    """Walks one resolution on one target; what a package needs is computed once for all venvs."""

    def __init__(self, target: Target, choices: Mapping[str, LockedPackage], metadata: CoreMetaOf) -> None:
        self._target = target
        self._choices = choices
        self._metadata = metadata
        self._edges: dict[tuple[str, str], tuple[Edge, ...]] = {}

    def walk(self, roots: Iterable[Requirement]) -> tuple[LockedPackage, ...]:
        """Return the packages that ``roots`` need, sorted by name, with their dependencies filled in.

        Raises:
            ResolutionFailed: The resolution lacks something, or a chosen version does not fit; all are named.
        """
        problems: list[Problem] = []
        todo = [("", self._edge(root)) for root in roots if self._applies(root, "")]
        requested = {edge[0] for _, edge in todo}
        needs: dict[str, set[str]] = {}
        done: set[tuple[str, str]] = set()
        while todo:
            asker, (name, extras, requirement) = todo.pop()
            if asker:
                needs[asker].add(name)
            if not self._fits(asker, name, requirement, problems):
                continue
            needs.setdefault(name, set())
            for extra in ("", *extras):
                if (name, extra) not in done:
                    done.add((name, extra))
                    todo += ((name, edge) for edge in self._needed(name, extra))
        problems += self._pythons(needs)
        if problems:
            raise _incomplete(self._target, problems)
        return tuple(self._locked(name, needs[name], requested) for name in sorted(needs))

    def _locked(self, name: str, needs: set[str], requested: set[str]) -> LockedPackage:
        dependencies = tuple(sorted(needs - {name}))
        return replace(self._choices[name], requested=name in requested, dependencies=dependencies)

    def _needed(self, name: str, extra: str) -> tuple[Edge, ...]:
        key = (name, extra)
        if key not in self._edges:
            found = self._metadata(self._choices[name]).requirements
            self._edges[key] = tuple(self._edge(one) for one in found if self._applies(one, extra))
        return self._edges[key]

    def _applies(self, requirement: Requirement, extra: str) -> bool:
        return applies(requirement, self._target, extra)

    def _edge(self, requirement: Requirement) -> Edge:
        extras = tuple(sorted(canonicalize_name(extra) for extra in requirement.extras))
        return canonicalize_name(requirement.name), extras, requirement

    def _fits(self, asker: str, name: str, requirement: Requirement, problems: list[Problem]) -> bool:
        found = self._choices.get(name)
        where = asker or "the venv"
        if found is None:
            problems.append(Problem(where=where, what=f"wants {requirement}, which was not resolved"))
            return False
        if requirement.url is None and not requirement.specifier.contains(found.version, prereleases=True):
            problems.append(Problem(where=where, what=f"wants {requirement}, but {found.version} was resolved"))
        return True

    def _pythons(self, names: Iterable[str]) -> list[Problem]:
        python = self._target.python.full_version
        problems = []
        for name in sorted(names):
            chosen = self._choices[name]
            wanted = self._metadata(chosen).requires_python
            if wanted and not SpecifierSet(wanted).contains(python, prereleases=True):
                problems.append(
                    Problem(where=f"{name} {chosen.version}", what=f"needs Python {wanted}, {python} is here")
                )
        return problems


def _incomplete(target: Target, problems: Sequence[Problem]) -> ResolutionFailed:
    unique = tuple(dict.fromkeys(problems))
    return ResolutionFailed(
        f"what was resolved does not fit {target.name}",
        hint="constrain the packages to versions that fit, or lock this venv for its own",
        problems=unique,
    )

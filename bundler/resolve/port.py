"""The resolver port: what is asked, what comes back, and the callables that give core metadata.

Drivers are found by entry point (``bundler.resolvers``) and chosen in :mod:`bundler.resolve.drivers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from bundler.model.index import IndexConfig
from bundler.model.lock import Artifact, GitSource, LockedPackage
from bundler.model.target import Target

#: Bytes of the METADATA of one locked package: ``sources.metadata`` for wheels, ``wheels.metadata`` for sources.
MetadataReader: TypeAlias = Callable[[LockedPackage, Target], bytes]
#: PEP 508 build requirements of a package that must be built, static ones and those of the backend's hook.
BuildRequires: TypeAlias = Callable[[LockedPackage, Target], tuple[str, ...]]

#: Who states a requirement in a conflict, where it is no package.
REQUESTED = "requested"
CONSTRAINT = "constraint"


@dataclass(frozen=True, kw_only=True)
class ResolveRequest:
    """What to resolve. ``requirements`` are PEP 508 lines; local paths in them are absolute ``file:`` URLs.

    ``constraints`` is one constraints file; ``previous`` maps names to versions preferred where nothing speaks
    against them; ``upgrade`` is True to forget all of these, or the names to forget.
    """

    requirements: tuple[str, ...]
    targets: tuple[Target, ...]
    constraints: str = ""
    indexes: IndexConfig = field(default_factory=IndexConfig)
    previous: Mapping[str, str] = field(default_factory=dict)
    upgrade: bool | frozenset[str] = False
    build_constraints: str = ""

    @property
    def preferred(self) -> dict[str, str]:
        """Return the previous versions that still count."""
        if isinstance(self.upgrade, frozenset):
            return {name: version for name, version in self.previous.items() if name not in self.upgrade}
        return {} if self.upgrade else dict(self.previous)


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """One version of one package, with every file that the index offers for it.

    ``marker`` says where this version holds (empty: everywhere); exactly one of (wheels, sdist), git and directory
    (an absolute path) is set; ``yanked`` is the reason where the index withdrew the version.
    """

    name: str
    version: str
    marker: str = ""
    wheels: tuple[Artifact, ...] = ()
    sdist: Artifact | None = None
    git: GitSource | None = None
    directory: Path | None = None
    index: str = ""
    yanked: str = ""


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What a resolver found, sorted by name and version."""

    packages: tuple[Resolved, ...]
    warnings: tuple[str, ...] = ()


@runtime_checkable
class Resolver(Protocol):
    """Find versions for requirements."""

    @property
    def name(self) -> str:
        """Name of the driver: part of a lock's inputs."""
        ...

    @property
    def version(self) -> str:
        """Version of the tool, for the record."""
        ...

    def resolve(self, request: ResolveRequest) -> Resolution:
        """Resolve ``request``.

        Raises:
            ResolutionFailed: No versions fit. In ``problems``, ``what`` is a requirement that takes part in the
                conflict and ``where`` who states it: ``name==version``, REQUESTED or CONSTRAINT.
            UsageError: The driver cannot honour the request, with the reason.
            IndexMismatch: A package bound to an index would come from elsewhere.
        """
        ...

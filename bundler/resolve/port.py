"""The resolver port: what is asked, what comes back, and the callables that give core metadata.

Drivers are found by entry point (``bundler.resolvers``) and chosen in :mod:`bundler.resolve.drivers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
class SourceMetadata:
    """What a resolver needs of the core metadata of a source, true for every target that was asked for.

    ``sha256`` names the source distribution that it is of, where it is one; ``note`` is what to warn of where it is
    taken.
    """

    name: str
    version: str
    requires_dist: tuple[str, ...] = ()
    requires_python: str = ""
    provides_extra: tuple[str, ...] = ()
    sha256: str = ""
    note: str = ""


class SourceAnswers(Protocol):
    """Answers for sources that only their build backends can tell about, asked in the targets' build environments."""

    def remembered(self, names: Iterable[str], targets: Sequence[Target]) -> tuple[SourceMetadata, ...]:
        """Return what is known already of source distributions of ``names``: all of it cheap, none of it asked."""
        ...

    def ask(self, sources: Sequence[Resolved], targets: Sequence[Target]) -> tuple[SourceMetadata, ...]:
        """Return the metadata of every one of ``sources``, in order; a git source names its commit.

        Raises:
            BuildError: Backends cannot answer; all are named.
            SourceError: Sources cannot be had.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ResolveRequest:
    """What to resolve: PEP 508 ``requirements``, in which local paths are absolute ``file:`` URLs.

    Git sources name commits: :mod:`bundler.resolve.git_pins` sees to that for whoever asks.
    ``constraints`` is one constraints file; ``previous`` maps names to versions preferred where nothing speaks
    against them; ``upgrade`` is True to forget all of these, or the names to forget. ``answers`` are for drivers that
    leave building to us; without them, a source that must be asked is an error of such a driver.
    """

    requirements: tuple[str, ...]
    targets: tuple[Target, ...]
    constraints: str = ""
    indexes: IndexConfig = field(default_factory=IndexConfig)
    previous: Mapping[str, str] = field(default_factory=dict)
    upgrade: bool | frozenset[str] = False
    build_constraints: str = ""
    answers: SourceAnswers | None = None

    @property
    def preferred(self) -> dict[str, str]:
        """Return the previous versions that still count."""
        if isinstance(self.upgrade, frozenset):
            return {name: version for name, version in self.previous.items() if name not in self.upgrade}
        return {} if self.upgrade else dict(self.previous)


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
            BuildError: A source does not say what it needs, and neither does its backend; so do SourceErrors.
        """
        ...

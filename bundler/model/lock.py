"""What was resolved: exact packages per venv and target, and where each comes from.

The lock is a directory beside the manifest: ``lock.json`` (everything that PEP 751 has no field for) and, per
target, one ``pylock.<venv>.toml`` (PEP 751) for each venv and one ``build/pylock.<package>.toml`` for the build
requirements of each package that must be built.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["wheel", "sdist", "git", "directory"]


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file of an index or of a local wheel folder.

    ``url`` never holds credentials. Local files have ``file:``, relative to the manifest (``file:wheels/x.whl``) if
    they are below it or a folder that it names so: a lock fits every checkout.
    """

    name: str
    url: str
    sha256: str
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class GitSource:
    """A commit of a git repository; ``commit`` is the full SHA, ``subdirectory`` is relative or empty."""

    url: str
    commit: str
    requested_revision: str = ""
    subdirectory: str = ""
    submodules: bool = False


@dataclass(frozen=True, kw_only=True)
class DirectorySource:
    """A local source tree. ``path`` is relative to the manifest; ``sha256`` is over its sorted files."""

    path: str
    sha256: str


Origin: TypeAlias = Artifact | GitSource | DirectorySource


@dataclass(frozen=True, kw_only=True)
class LockedPackage:
    """One distribution in one venv of one target. ``name`` is normalised (PEP 503)."""

    name: str
    version: str
    kind: Kind
    origin: Origin
    requested: bool = False
    dependencies: tuple[str, ...] = ()
    yanked: str = ""

    @property
    def must_build(self) -> bool:
        """Return whether a wheel has to be made first."""
        return self.kind != "wheel"


@dataclass(frozen=True, kw_only=True)
class VenvLock:
    """The packages of one venv on one target, sorted by name."""

    venv: str
    target: str
    packages: tuple[LockedPackage, ...]


@dataclass(frozen=True, kw_only=True)
class BuildLock:
    """What a build environment must hold to build one package: wheels, or packages to be built first."""

    package: str
    version: str
    target: str
    packages: tuple[LockedPackage, ...]


@dataclass(frozen=True, kw_only=True)
class Shadowed:
    """A constraint that lost to one of a higher layer."""

    name: str
    winner: str
    winner_where: str
    loser: str
    loser_where: str


@dataclass(frozen=True, kw_only=True)
class LayerRecord:
    """Where a constraint layer came from and the digest of what was there."""

    name: str
    location: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A whole lock. ``inputs`` is the digest of what decided the resolution; ``created`` seconds since the epoch.

    ``manifest`` is the digest of all that a bundle shows of the manifest; ``tool`` our version, which it shows too.
    ``seeds`` are the packages that targets carry beside those of venvs; ``upper`` what the layer of that name said.
    """

    name: str
    version: str
    sequence: int
    created: int
    inputs: str
    resolver: str
    tool: str = ""
    targets: tuple[str, ...]
    venvs: tuple[VenvLock, ...]
    builds: tuple[BuildLock, ...] = ()
    layers: tuple[LayerRecord, ...] = ()
    shadowed: tuple[Shadowed, ...] = ()
    effective: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    manifest: str = ""
    seeds: tuple[VenvLock, ...] = ()
    upper: str = ""

    @property
    def carried(self) -> tuple[VenvLock, ...]:
        """Return the venvs, and the seed packages like venvs."""
        return (*self.venvs, *self.seeds)

    def venv(self, venv: str, target: str) -> VenvLock:
        """Return the lock of ``venv`` on ``target``; KeyError where there is none."""
        for entry in self.venvs:
            if (entry.venv, entry.target) == (venv, target):
                return entry
        raise KeyError((venv, target))

    def build(self, package: str, version: str, target: str) -> BuildLock:
        """Return the build requirements of a package; KeyError where there are none."""
        for entry in self.builds:
            if (entry.package, entry.version, entry.target) == (package, version, target):
                return entry
        raise KeyError((package, version, target))

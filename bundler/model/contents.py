"""What ``bundle.json`` says: the files a repo host will hold, the blobs they are made of, where those lie.

Plain frozen dataclasses, so that the air-gapped half needs no compiled parser. The strict parser is
:mod:`bundler.model.contents_json`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

FORMAT = 1
#: What seed packages are called where venvs have a name; no venv can be called so.
SEEDS = "seed packages"
#: Caps on what is read before anything is trusted (bytes).
MAX_SUMS = 1 << 20
MAX_SIGNATURE = 8 << 10
MAX_SIGNATURES = 32
MAX_BUNDLE_JSON = 64 << 20

ProofLevel: TypeAlias = Literal["target", "host", "none"]


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A file of a repo host: the concatenation of its blobs. ``path`` is relative, POSIX, to the repo root."""

    path: str
    size: int
    sha256: str
    mode: int
    targets: tuple[str, ...]
    blobs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LinkEntry:
    """A relative symbolic link of a repo host."""

    path: str
    to: str
    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BlobEntry:
    """A blob inside a volume: ``length`` bytes at ``offset`` are one zstd frame that decodes to ``size`` bytes."""

    sha256: str
    size: int
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True)
class VolumeEntry:
    """A volume. ``target`` is empty for ``common``."""

    name: str
    target: str
    size: int
    blobs: tuple[BlobEntry, ...]


@dataclass(frozen=True, kw_only=True)
class PackageEntry:
    """A package of a venv: its wheel (file name and blob) and its layers' blobs (source, then bytecode)."""

    name: str
    version: str
    wheel: str
    wheel_sha256: str
    layers: tuple[str, ...]
    kind: str
    requested: bool = False


@dataclass(frozen=True, kw_only=True)
class ProofEntry:
    """The outcome of a venv's proof; ``unisolated`` names what was not isolated; details are in the evidence.

    ``unproved_allowed``: the manifest allows this venv to be signed although ``level`` is ``none``.
    """

    level: ProofLevel
    passed: bool
    checks: int
    allowed: int = 0
    unisolated: tuple[str, ...] = ()
    unproved_allowed: bool = False


@dataclass(frozen=True, kw_only=True)
class VenvEntry:
    """A venv archive on one target; ``install_path`` is where it is meant to live, ``archive`` its path in files."""

    name: str
    target: str
    python: str
    install_path: str
    archive: str
    packages: tuple[PackageEntry, ...]
    console_scripts: tuple[str, ...]
    runtime_packages: tuple[str, ...] = ()
    proof: ProofEntry


@dataclass(frozen=True, kw_only=True)
class TargetEntry:
    """A target as the site checks it."""

    name: str
    distro: str
    version: str
    arch: str
    python: str
    glibc: str


@dataclass(frozen=True, kw_only=True)
class SeedEntry:
    """Packages that a target carries beside those of its venvs; they have no layers."""

    target: str
    packages: tuple[PackageEntry, ...]


@dataclass(frozen=True, kw_only=True)
class RoleVenv:
    """A venv as OpenStack-Ansible knows it: ``basename`` names its files, ``requirements`` are its pip packages.

    ``named``: those of them that its own variables have in a form that its role cannot use without a network.
    """

    name: str
    basename: str
    requirements: tuple[str, ...]
    named: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RoleEntry:
    """What OpenStack-Ansible is to be told: its branch and release, which upper constraints there are, its venvs."""

    branch: str
    release: str
    upper: str
    venvs: tuple[RoleVenv, ...]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All of ``bundle.json``. ``created``: seconds since the epoch; ``base``: digest of a base bundle or empty.

    ``openstack_ansible`` is empty in bundles that were made before there was such a thing.
    """

    name: str
    version: str
    sequence: int
    floor: int
    created: int
    tool: str
    targets: tuple[TargetEntry, ...]
    files: tuple[FileEntry, ...]
    links: tuple[LinkEntry, ...]
    volumes: tuple[VolumeEntry, ...]
    venvs: tuple[VenvEntry, ...]
    base: str = ""
    seeds: tuple[SeedEntry, ...] = ()
    openstack_ansible: tuple[RoleEntry, ...] = ()
    format: int = FORMAT
    critical: tuple[str, ...] = field(default=())

    @property
    def id(self) -> str:
        """Return ``<name>-<version>-<sequence>``, the bundle's directory name."""
        return f"{self.name}-{self.version}-{self.sequence}"

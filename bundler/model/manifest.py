"""The manifest: what a person writes. Schema 1.

Every field has a title that the sample, the JSON Schema and the reference page share. Loading (YAML, includes,
positions of problems) is :mod:`bundler.model.manifest_load`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$")]
#: One list for all systems, or lists per target, distro-version, distro or family (``debian``, ``redhat``).
PackageList: TypeAlias = list[str] | dict[str, list[str]]


class Document(BaseModel):
    """Base of all parts: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Release(Document):
    """What the bundle is called."""

    name: Name = Field(title="name of the release, e.g. openstack")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_]{0,63}$", title="version of the release, e.g. 2026.1")
    sequence: int | None = Field(default=None, ge=1, title="rises with every release; taken from the lock if absent")
    floor: int = Field(default=0, ge=0, title="oldest sequence that a site may still go back to")
    description: str = Field(default="", title="one line for the person who finds the stick")


class Index(Document):
    """A Python package index (PEP 503). Credentials come from netrc, keyring or the environment, never from here."""

    name: Name = Field(title="what messages call it; UV_INDEX_<NAME>_USERNAME and _PASSWORD are read for it")
    url: str = Field(title="base URL of the simple API")
    packages: tuple[str, ...] = Field(
        default=(), title="packages that come from here only; a namesake elsewhere is refused"
    )


class GitFile(Document):
    """A file at a commit of a git repository."""

    url: str = Field(title="repository")
    revision: str = Field(title="commit, tag or branch; the lock records the commit")
    path: str = Field(title="file inside the repository")


class ConstraintLayer(Document):
    """One constraints file with its place in the order. Exactly one of file, url, git and lines is given."""

    name: str = Field(title="what reports call it: user, pins, upper")
    file: str | None = Field(default=None, title="path relative to the manifest")
    url: str | None = Field(default=None, title="address; its content is recorded by digest in the lock")
    git: GitFile | None = Field(default=None, title="file in a git repository")
    lines: tuple[str, ...] | None = Field(default=None, title="constraints written here")


class VenvConstraints(Document):
    """Constraint layers of one venv."""

    mode: Literal["add", "replace"] = Field(
        default="add", title="add: above the release's layers; replace: instead of them"
    )
    layers: tuple[ConstraintLayer, ...] = Field(default=(), title="highest precedence first")


class DistroPackages(Document):
    """Operating-system packages, never installed on a site by us."""

    build: PackageList = Field(default_factory=list, title="needed to compile")
    runtime: PackageList = Field(default_factory=list, title="needed to run; recorded in the bundle")


class Smoke(Document):
    """A command that must work inside the proved venv."""

    run: str = Field(title="command line; the venv's bin directory comes first on PATH")
    expect: str = Field(
        default="", title="regular expression that its output must contain; {version[name]} is filled in"
    )


class AllowedFailure(Document):
    """An entry point that may fail to load, with the reason why that is no fault."""

    entry_point: str = Field(title="name, or group:name; * matches any run of characters")
    package: str = Field(default="", title="only of this package")
    reason: str = Field(min_length=3, title="why this failure is accepted")


class Proof(Document):
    """How venvs are proved before a bundle is written."""

    level: Literal["target", "host", "none"] = Field(
        default="host", title="where: in the target's root file system, on the build host, or not at all"
    )
    allow: tuple[AllowedFailure, ...] = Field(default=(), title="accepted failures")
    allow_unproved: bool = Field(default=False, title="sign a bundle although level is none; the bundle says so")


class PackageBuild(Document):
    """How one package is compiled."""

    env: dict[str, str] = Field(default_factory=dict, title="environment variables of the build")
    config_settings: dict[str, str | list[str]] = Field(default_factory=dict, title="PEP 517 config settings")
    requires: tuple[str, ...] = Field(default=(), title="build requirements beyond those it declares")
    memory: int = Field(default=1024, ge=64, title="memory that the build may need, in MiB, for scheduling")


class Build(Document):
    """How wheels are compiled."""

    constraints: tuple[str, ...] = Field(default=(), title="constraints for build requirements, above the layers")
    packages: dict[str, PackageBuild] = Field(default_factory=dict, title="settings per package")
    environment: str = Field(default="host", title="build environment driver")


class VenvOverride(Document):
    """What differs for one target: values are added to the venv's own, ``skip`` leaves it out there."""

    skip: bool = Field(default=False, title="do not build this venv for the target")
    packages: tuple[str, ...] = Field(default=(), title="further packages")
    remove: tuple[str, ...] = Field(default=(), title="names of packages to leave out")
    system_packages: tuple[str, ...] = Field(default=(), title="further system packages to symlink")
    distro_packages: DistroPackages = Field(default_factory=DistroPackages, title="further distro packages")


class Venv(Document):
    """One virtual environment."""

    path: str = Field(pattern=r"^/[^\x00]+$", title="install path, e.g. /openstack/venvs/nova-33.0.1")
    packages: tuple[str, ...] = Field(default=(), title="PEP 508 requirements, or git+URL@revision#egg=name")
    groups: dict[str, list[str]] = Field(default_factory=dict, title="optional package groups")
    enable: tuple[str, ...] = Field(default=(), title="optional groups that are built in")
    python: str | None = Field(default=None, title="Python version, where it is not the target's default")
    constraints: VenvConstraints = Field(default_factory=VenvConstraints, title="constraint layers of this venv")
    build_requirements: tuple[str, ...] = Field(default=(), title="further build requirements for its sources")
    system_packages: tuple[str, ...] = Field(default=(), title="distro packages whose modules are symlinked in")
    distro_packages: DistroPackages = Field(default_factory=DistroPackages, title="operating-system packages")
    targets: dict[str, VenvOverride] = Field(default_factory=dict, title="what differs per target")
    smoke: tuple[Smoke, ...] = Field(default=(), title="commands that must work")
    allow: tuple[AllowedFailure, ...] = Field(default=(), title="accepted proof failures of this venv")


class Manifest(Document):
    """A release: its name, its targets, where packages come from, and its venvs."""

    schema_: Literal[1] = Field(alias="schema", title="version of this format")
    release: Release = Field(title="name and version")
    targets: tuple[str, ...] = Field(default=("auto",), min_length=1, title="systems to build for; auto is this host")
    resolver: Literal["uv", "pip"] = Field(default="uv", title="uv: all targets; pip: this host's own target")
    closure: Literal["all", "sources"] = Field(
        default="all", title="all: carry every wheel; sources: only wheels of git and path sources"
    )
    indexes: tuple[Index, ...] = Field(default=(), title="package indexes in order; absent: pip's own configuration")
    wheel_folders: tuple[str, ...] = Field(default=(), title="local directories of wheels, relative to the manifest")
    constraints: tuple[ConstraintLayer, ...] = Field(
        default=(), title="release-wide layers, highest precedence first"
    )
    build: Build = Field(default_factory=Build, title="how wheels are compiled")
    proof: Proof = Field(default_factory=Proof, title="how venvs are proved")
    venvs: dict[Name, Venv] = Field(min_length=1, title="the venvs by name")
    anchors: Any = Field(default=None, alias="x-anchors", title="a place for YAML anchors; ignored")

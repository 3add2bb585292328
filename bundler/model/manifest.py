"""The manifest: what a person writes. Schema 1.

Every field has a title that the sample, the JSON Schema and the reference page share. Loading (YAML, includes,
positions of problems) is :mod:`bundler.model.manifest_load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from packaging.utils import canonicalize_name
from pydantic import BeforeValidator, Field, field_validator

from bundler.model.manifest_roles import Document, OpenStackAnsible, VenvOpenStackAnsible

Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$")]
#: A number written as text is taken as the number it is: the loader leaves all scalars as text.
Schema: TypeAlias = Annotated[Literal[1], BeforeValidator(lambda value: 1 if value == "1" else value)]
#: Old names, by path (``*`` is any key or number), and what they are called now.
DEPRECATED: Mapping[str, str] = {
    "constraint_layers": "constraints",
    "find_links": "wheel_folders",
    "venvs.*.constraint_layers": "constraints",
    "venvs.*.install_path": "path",
    "venvs.*.requirements": "packages",
    "venvs.*.package_groups": "groups",
    "venvs.*.smoke_commands": "smoke",
}
#: The constraint layer with what a release was tested with is called so.
UPPER = "upper"
#: One list for all systems, or lists per target, distro-version, distro or family (``debian``, ``redhat``).
PackageList: TypeAlias = list[str] | dict[str, list[str]]


class Release(Document):
    """What the bundle is called."""

    name: Name = Field(title="name of the release, e.g. openstack", examples=["openstack"])
    version: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_]{0,63}$", title="version of the release, e.g. 2026.1", examples=["2026.1"]
    )
    sequence: int | None = Field(
        default=None, ge=1, title="rises with every release; taken from the lock if absent", examples=[1767225600]
    )
    floor: int = Field(default=0, ge=0, title="oldest sequence that a site may still go back to", examples=[0])
    description: str = Field(
        default="",
        title="one line for the person who finds the stick",
        examples=["OpenStack 2026.1 for the north site"],
    )


class Index(Document):
    """A Python package index (PEP 503). Credentials come from netrc, keyring or the environment, never from here."""

    name: Name = Field(
        title="what messages call it; UV_INDEX_<NAME>_USERNAME and _PASSWORD are read for it", examples=["internal"]
    )
    url: str = Field(title="base URL of the simple API", examples=["https://index.example/simple/"])
    packages: tuple[str, ...] = Field(
        default=(),
        title="packages that come from here only; a namesake elsewhere is refused",
        examples=[["our-plugin"]],
    )


class GitFile(Document):
    """A file at a commit of a git repository."""

    url: str = Field(title="repository", examples=["https://git.example/requirements"])
    revision: str = Field(title="commit, tag or branch; the lock records the commit", examples=["stable/2026.1"])
    path: str = Field(title="file inside the repository", examples=["upper-constraints.txt"])


class ConstraintLayer(Document):
    """One constraints file with its place in the order. Exactly one of file, url, git and lines is given."""

    name: str = Field(title="what reports call it: user, pins, upper", examples=["upper"])
    file: str | None = Field(
        default=None, title="path relative to the manifest", examples=["constraints/upper-constraints.txt"]
    )
    url: str | None = Field(
        default=None,
        title="address; its content is recorded by digest in the lock",
        examples=["https://git.example/upper-constraints.txt"],
    )
    git: GitFile | None = Field(default=None, title="file in a git repository")
    lines: tuple[str, ...] | None = Field(
        default=None, title="constraints written here", examples=[["setuptools<81"]]
    )
    signers: str | None = Field(
        default=None,
        title="allowed_signers file, relative to the manifest; one of them must have signed the layer's file",
        examples=["trust/constraint-signers"],
    )


class VenvConstraints(Document):
    """Constraint layers of one venv."""

    mode: Literal["add", "replace"] = Field(
        default="add", title="add: above the release's layers; replace: instead of them"
    )
    layers: tuple[ConstraintLayer, ...] = Field(
        default=(),
        title="highest precedence first",
        examples=[[{"name": "hotfix", "lines": ["oslo.messaging==17.3.1"]}]],
    )


class DistroPackages(Document):
    """Operating-system packages, never installed on a site by us."""

    build: PackageList = Field(
        default_factory=list, title="needed to compile", examples=[["libldap-dev", "libsasl2-dev"]]
    )
    runtime: PackageList = Field(
        default_factory=list,
        title="needed to run; recorded in the bundle",
        examples=[{"debian": ["libldap2"], "redhat": ["openldap"], "default": []}],
    )


class Smoke(Document):
    """A command that must work inside the proved venv."""

    run: str = Field(
        title="command line; the venv's bin directory comes first on PATH", examples=["keystone-manage --version"]
    )
    expect: str = Field(
        default="",
        title="regular expression that its output must contain; {version[name]} is filled in",
        examples=["{version[keystone]}"],
    )


class AllowedFailure(Document):
    """An entry point that may fail to load, with the reason why that is no fault."""

    entry_point: str = Field(
        title="name, or group:name; * matches any run of characters", examples=["keystone-wsgi-*"]
    )
    package: str = Field(default="", title="only of this package", examples=["keystone"])
    reason: str = Field(
        min_length=3, title="why this failure is accepted", examples=["needs a module that only the web server has"]
    )


class Proof(Document):
    """How venvs are proved before a bundle is written."""

    level: Literal["target", "host", "none"] = Field(
        default="host", title="where: in the target's root file system, on the build host, or not at all"
    )
    allow: tuple[AllowedFailure, ...] = Field(default=(), title="accepted failures")
    allow_unproved: bool = Field(
        default=False, title="sign a bundle although level is none; the bundle says so", examples=[False]
    )


class PackageBuild(Document):
    """How one package is compiled."""

    env: dict[str, str] = Field(
        default_factory=dict, title="environment variables of the build", examples=[{"CFLAGS": "-O2"}]
    )
    config_settings: dict[str, str | list[str]] = Field(
        default_factory=dict, title="PEP 517 config settings", examples=[{"--build-option": ["--quiet"]}]
    )
    requires: tuple[str, ...] = Field(
        default=(), title="build requirements beyond those it declares", examples=[["cython<3"]]
    )
    submodules: bool = Field(default=False, title="fetch the submodules of its git source; refused otherwise")
    memory: int = Field(default=1024, ge=64, title="memory that the build may need, in MiB, for scheduling")
    cpus: int = Field(default=1, ge=1, title="processors that the build uses at once, for scheduling")


class Build(Document):
    """How wheels are compiled."""

    constraints: tuple[str, ...] = Field(
        default=(), title="constraints for build requirements, above the layers", examples=[["setuptools<81"]]
    )
    packages: dict[str, PackageBuild] = Field(default_factory=dict, title="settings per package")
    environment: str = Field(
        default="auto",
        title="where: host, rootfs (the target's own root file system) or container; auto: host where the target is "
        "this host, rootfs elsewhere",
        examples=["rootfs"],
    )

    @field_validator("packages", mode="after")
    @classmethod
    def _normalised(cls, packages: dict[str, PackageBuild]) -> dict[str, PackageBuild]:
        """Return the settings by normalised name (PEP 503), as locks know packages."""
        return {str(canonicalize_name(name)): settings for name, settings in packages.items()}


class System(Document):
    """How a target's operating system is had: by mmdebstrap from mirrors, or as a container image."""

    suite: str = Field(
        default="", pattern=r"^[a-z0-9.-]*$", title="suite of the archive, if not the usual one", examples=["trixie"]
    )
    mirrors: tuple[str, ...] = Field(
        default=(),
        title="addresses of mirrors, or whole deb lines; absent: those of this host's apt",
        examples=[["https://mirror.example/ubuntu"]],
    )
    components: tuple[str, ...] = Field(
        default=("main",), title="components of the archive", examples=[["main", "universe"]]
    )
    keyring: str = Field(
        default="",
        title="file with the archive's keys, if this host's apt does not trust them",
        examples=["/usr/share/keyrings/ubuntu-archive-keyring.gpg"],
    )
    packages: tuple[str, ...] = Field(
        default=(), title="packages that every host of the site has anyway", examples=[["ca-certificates"]]
    )
    image: str = Field(
        default="",
        title="image for build.environment container, already on this host",
        examples=["localhost/bookworm-build:latest"],
    )


class VenvOverride(Document):
    """What differs for one target: values are added to the venv's own, ``skip`` leaves it out there."""

    skip: bool = Field(default=False, title="do not build this venv for the target")
    packages: tuple[str, ...] = Field(default=(), title="further packages", examples=[["python-ldap"]])
    remove: tuple[str, ...] = Field(
        default=(), title="names of packages to leave out", examples=[["python-memcached"]]
    )
    system_packages: tuple[str, ...] = Field(
        default=(), title="further system packages to symlink", examples=[["python3-libvirt"]]
    )
    distro_packages: DistroPackages = Field(default_factory=DistroPackages, title="further distro packages")


class Venv(Document):
    """One virtual environment."""

    path: str = Field(
        pattern=r"^(/[A-Za-z0-9._+-]+)+$",
        title="install path; its last part names the archive, e.g. nova-33.0.1",
        examples=["/openstack/venvs/keystone-29.0.2"],
    )
    packages: tuple[str, ...] = Field(
        default=(),
        title="PEP 508 requirements, or git+URL@revision#egg=name",
        examples=[["keystone==29.0.2", "pymysql", "python-memcached"]],
    )
    groups: dict[str, list[str]] = Field(
        default_factory=dict, title="optional package groups", examples=[{"ldap": ["keystone[ldap]", "ldappool"]}]
    )
    enable: tuple[str, ...] = Field(default=(), title="optional groups that are built in", examples=[["ldap"]])
    python: str | None = Field(
        default=None,
        pattern=r"^3\.[0-9]{1,2}(\.[0-9]{1,2})?$",
        title="Python version, if not the target's default",
        examples=["3.13"],
    )
    constraints: VenvConstraints = Field(default_factory=VenvConstraints, title="constraint layers of this venv")
    build_requirements: tuple[str, ...] = Field(
        default=(), title="further build requirements for its sources", examples=[["setuptools-scm"]]
    )
    system_packages: tuple[str, ...] = Field(
        default=(), title="distro packages whose modules are symlinked in", examples=[["python3-rados"]]
    )
    distro_packages: DistroPackages = Field(default_factory=DistroPackages, title="operating-system packages")
    targets: dict[str, VenvOverride] = Field(default_factory=dict, title="what differs per target")
    smoke: tuple[Smoke, ...] = Field(default=(), title="commands that must work")
    allow: tuple[AllowedFailure, ...] = Field(default=(), title="accepted proof failures of this venv")
    openstack_ansible: VenvOpenStackAnsible = Field(
        default_factory=VenvOpenStackAnsible, title="what OpenStack-Ansible's role writes for it"
    )


class Manifest(Document):
    """A release: its name, its targets, where packages come from, and its venvs."""

    schema_: Schema = Field(alias="schema", title="version of this format", examples=[1])
    include: tuple[str, ...] = Field(
        default=(),
        title="files to take shared parts from, relative to this one; mappings merge, this file wins",
        examples=[["shared/constraints.yaml"]],
    )
    release: Release = Field(title="name and version")
    targets: tuple[str, ...] = Field(
        default=("auto",),
        min_length=1,
        title="systems to build for; auto is this host",
        examples=[["auto", "ubuntu-24.04-x86_64"]],
    )
    resolver: Literal["uv", "pip"] = Field(default="uv", title="uv: all targets; pip: this host's own target")
    closure: Literal["all", "sources"] = Field(
        default="all", title="all: carry every wheel; sources: only wheels of git and path sources"
    )
    indexes: tuple[Index, ...] = Field(default=(), title="package indexes in order; absent: pip's own configuration")
    wheel_folders: tuple[str, ...] = Field(
        default=(), title="local directories of wheels, relative to the manifest", examples=[["wheels"]]
    )
    constraints: tuple[ConstraintLayer, ...] = Field(
        default=(),
        title="release-wide layers, highest precedence first",
        examples=[
            [
                {"name": "user", "lines": ["setuptools<81"]},
                {"name": "pins", "file": "constraints/pins.txt"},
                {"name": "vendor", "url": "https://files.example/vendor-constraints.txt"},
                {
                    "name": "upper",
                    "git": {
                        "url": "https://git.example/requirements",
                        "revision": "stable/2026.1",
                        "path": "upper-constraints.txt",
                    },
                },
            ]
        ],
    )
    build: Build = Field(default_factory=Build, title="how wheels are compiled")
    systems: dict[str, System] = Field(
        default_factory=dict, title="operating systems by target, distro-version, distro or family"
    )
    proof: Proof = Field(default_factory=Proof, title="how venvs are proved")
    default_packages: tuple[str, ...] = Field(
        default=("pip",), title="packages put into every venv; [] for none", examples=[["pip", "setuptools<82"]]
    )
    seed_packages: tuple[str, ...] = Field(
        default=("pip", "setuptools", "wheel", "pbr", "packaging", "uv"),
        title="packages whose wheels every target carries beside those of the venvs, to make venvs from; [] for none",
        examples=[["pip", "setuptools", "wheel", "pbr", "packaging", "uv", "maturin<2"]],
    )
    openstack_ansible: OpenStackAnsible = Field(
        default_factory=OpenStackAnsible, title="what OpenStack-Ansible's roles find on a repo host"
    )
    venvs: dict[Name, Venv] = Field(min_length=1, title="the venvs by name")
    anchors: Any = Field(default=None, alias="x-anchors", title="a place for YAML anchors; ignored")

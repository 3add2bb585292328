"""The part of the manifest that is about OpenStack-Ansible, and the base of all parts."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Document(BaseModel):
    """Base of all parts: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class UpperConstraints(Document):
    """The file of upper constraints that OpenStack-Ansible's roles read from the repo host."""

    file: str = Field(
        default="",
        title="path relative to the manifest; absent: what the constraint layer called upper says",
        examples=["constraints/upper-constraints.txt"],
    )
    id: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._+-]{0,99})?$",
        title="its requirements_git_install_branch; absent: the layer's commit, else a digest of the content",
        examples=["c4c55d5279d824dc261a43ac51b56146ccc4dd4f"],
    )


class OpenStackAnsible(Document):
    """What OpenStack-Ansible's roles write on a repo host, so that they find it written already."""

    branch: Literal["", "2023.1", "2023.2", "2024.1", "2024.2", "2025.1", "2025.2", "2026.1", "master"] = Field(
        default="", title="its branch; the roles of some write a header line", examples=["2026.1"]
    )
    release: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9.+_]{0,63})?$",
        title="its openstack_release, the directory below os-releases; absent: version of the release",
        examples=["33.0.1"],
    )
    global_constraints: str | tuple[str, ...] = Field(
        default=(),
        title="its global-requirement-pins.txt, relative to the manifest, or the lines themselves",
        examples=["constraints/global-requirement-pins.txt"],
    )
    source_constraints: tuple[str, ...] = Field(
        default=(),
        title="venv_build_constraints of all venvs that have none of their own",
        examples=[["--constraint http://repo.example:8181/constraints/upper_constraints_cached.txt"]],
    )
    upper_constraints: UpperConstraints = Field(
        default_factory=UpperConstraints, title="what its roles get as upper constraints"
    )


class VenvOpenStackAnsible(Document):
    """What OpenStack-Ansible's role writes for one venv, where that differs from what the venv says."""

    requirements: tuple[str, ...] | None = Field(
        default=None,
        title="venv_pip_packages, as they are written; absent: the venv's own packages",
        examples=[["git+https://git.example/keystone@7b9f392#egg=keystone", "PyMySQL"]],
    )
    source_constraints: tuple[str, ...] | None = Field(
        default=None, title="venv_build_constraints; absent: those of the release", examples=[["PyMySQL===1.1.2"]]
    )

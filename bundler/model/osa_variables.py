"""What OpenStack-Ansible has to be told, so that it installs from what a repo host has. Pure.

Its variables, each with the reason why, and what no variable can say. Facts come from ``bundle.json``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bundler.model.contents import Contents, RoleEntry

BRANCHES = ("2023.1", "2023.2", "2024.1", "2024.2", "2025.1", "2025.2", "2026.1", "master")
#: From this branch on the role deletes the files of a venv on the repo host when building its wheels fails.
_DELETES = BRANCHES[BRANCHES.index("2025.1") :]
#: From these on it writes a header line into them, or can install with uv.
_HEADER, _UV = BRANCHES[BRANCHES.index("2026.1") :], BRANCHES[BRANCHES.index("2025.2") :]
_NO_INDEX = "--no-index"


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A variable of OpenStack-Ansible, its value, and why it has to have it."""

    name: str
    value: Any
    why: str


@dataclass(frozen=True, kw_only=True)
class OsaVariables:
    """All variables for one release and branch, and advice that no variable can follow."""

    bundle: str
    branch: str
    release: str
    variables: tuple[Variable, ...]
    advice: tuple[str, ...]


def osa_variables(contents: Contents, facts: RoleEntry, branch: str) -> OsaVariables:
    """Return what a deployment of ``branch`` (empty: that of the bundle) has to be told."""
    chosen = branch or facts.branch or BRANCHES[-1]
    return OsaVariables(
        bundle=contents.id,
        branch=chosen,
        release=facts.release,
        variables=tuple(_variables(facts)),
        advice=tuple(_advice(facts, chosen)),
    )


def _variables(facts: RoleEntry) -> Iterator[Variable]:
    yield Variable(
        name="pip_install_options",
        value=_NO_INDEX,
        why="every service installs from the wheels of the repo host alone: pip prefers an index at equal versions",
    )
    yield Variable(
        name="venv_pip_install_args",
        value=_NO_INDEX,
        why="the same for venvs that take no options of a service, such as the one of the health check",
    )
    yield Variable(
        name="venv_pip_build_args",
        value=_NO_INDEX,
        why="the same where somebody forgets --skip-tags build: wheels are copied then, and nothing is fetched",
    )
    yield Variable(
        name="requirements_git_repo",
        value="",
        why="the repo_server role downloads no upper constraints: the repo host has them already",
    )
    if facts.upper:
        yield Variable(
            name="requirements_git_install_branch",
            value=facts.upper,
            why=f"upper constraints are constraints/upper_constraints_{facts.upper}.txt on the repo host",
        )
    for venv in facts.venvs:
        if venv.named:
            yield Variable(
                name=f"{re.sub('[^a-z0-9_]', '_', venv.name)}_pip_packages",
                value=list(venv.requirements),
                why=f"the role reads names of git sources from #egg= alone, else it clones: {_short(venv.named)}",
            )


def _short(items: tuple[str, ...]) -> str:
    return ", ".join(item.rpartition("egg=")[2] for item in items)


def _advice(facts: RoleEntry, branch: str) -> Iterator[str]:
    yield (
        "Run playbooks with --skip-tags build: wheels are there, nothing is to be built, no builder venv is needed."
    )
    if branch in _DELETES:
        yield (
            f"A failing build of wheels makes the role of {branch} delete the four files of the venv on the repo "
            "host; `bundle-install repair` puts them back."
        )
    if (facts.branch in _HEADER) != (branch in _HEADER):
        yield (
            f"The bundle was made for {facts.branch or 'no branch'}: the files of {branch} differ by a header line. "
            "Without --skip-tags build the role builds wheels anew. Set openstack_ansible.branch in the manifest."
        )
    yield (
        f"openstack_release of the checkout has to be {facts.release}: that is the directory below os-releases. "
        "At a tag it is the tag."
    )
    if facts.upper:
        yield (
            f"/etc/openstack_deploy/upper-constraints/ has to hold upper_constraints_{facts.upper}.txt, or be empty: "
            "its files are copied to the repo host. Fetch it from there, below constraints/."
        )
    if branch in _UV:
        yield "venv_install_tool may be uv as well as pip: the wheel of uv is carried too."
    names = {venv.name for venv in facts.venvs}
    if not names or "nova" in names:
        yield (
            "Consoles are no packages: nova's role clones them. Set novncproxy_git_repo and spicehtml5_git_repo to "
            "mirrors of yours (file:///… will do), or choose a console that needs neither."
        )

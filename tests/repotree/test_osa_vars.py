"""What `bundle-install osa-vars` tells OpenStack-Ansible."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bundler.cli.context import Output, make_console
from bundler.cli.site.osa_vars import command
from bundler.deploy.places import Places
from bundler.errors import UsageError
from bundler.model.contents import Contents, RoleEntry, RoleVenv
from bundler.model.contents_json import format_contents, parse_contents
from bundler.model.osa_variables import BRANCHES, osa_variables
from bundler.workflows.site.osa_vars import OsaVarsRequest, osa_vars
from tests.bundles import BundleMaker

#: Keys that bundles did not always have.
NEW = ("openstack_ansible", "seeds")
FACTS = RoleEntry(
    branch="2026.1",
    release="33.0.1",
    upper="c4c55d5",
    venvs=(
        RoleVenv(name="keystone", basename="keystone-33.0.1", requirements=("PyMySQL",)),
        RoleVenv(
            name="horizon",
            basename="horizon-33.0.1",
            requirements=("git+https://x/pyScss@1#egg=pyscss", "pymemcache"),
            named=("git+https://x/pyScss@1#egg=pyscss",),
        ),
    ),
)


def contents(*facts: RoleEntry) -> Contents:
    values: dict[str, Any] = {"files": (), "links": (), "volumes": (), "targets": (), "venvs": (), "tool": "t"}
    return Contents(name="os", version="1", sequence=7, floor=0, created=1, openstack_ansible=facts, **values)


def test_only_what_the_role_would_spoil_is_set() -> None:
    """Every venv with a git item that had no name gets its list of packages; others keep OpenStack-Ansible's own."""
    found = {one.name: one.value for one in osa_variables(contents(FACTS), FACTS, "").variables}

    assert found == {
        "pip_install_options": "--no-index",
        "venv_pip_install_args": "--no-index",
        "venv_pip_build_args": "--no-index",
        "requirements_git_repo": "",
        "requirements_git_install_branch": "c4c55d5",
        "horizon_pip_packages": ["git+https://x/pyScss@1#egg=pyscss", "pymemcache"],
    }


@pytest.mark.parametrize("branch", BRANCHES)
def test_every_branch_gets_its_advice(branch: str) -> None:
    """The advice on tags is for all; what a branch does otherwise is said for it alone."""
    found = osa_variables(contents(FACTS), FACTS, branch)
    advice = "\n".join(found.advice)

    assert found.branch == branch
    assert "--skip-tags build" in advice
    assert ("bundle-install repair" in advice) is (branch >= "2025.1")
    assert ("venv_install_tool" in advice) is (branch >= "2025.2")
    assert ("header line" in advice) is (branch < "2026.1")
    assert "novncproxy_git_repo" not in advice


def test_consoles_are_spoken_of_where_nova_is() -> None:
    """Nova's role clones the consoles, which are in no bundle."""
    facts = replace(FACTS, venvs=(RoleVenv(name="nova", basename="nova-33.0.1", requirements=()),))

    assert any("novncproxy_git_repo" in one for one in osa_variables(contents(facts), facts, "").advice)


def test_a_bundle_on_a_medium_is_read(make_bundle: BundleMaker, tmp_path: Path) -> None:
    """The command prints YAML whose comments say why, and as JSON the same values; of an older bundle it says so."""
    found = make_bundle(openstack_ansible=(FACTS,))
    places = ["--config-dir", str(tmp_path / "etc"), "--state-dir", str(tmp_path / "var")]

    shown = CliRunner().invoke(command, [str(found), *places], obj=Output(console=make_console(StringIO())))
    output = Output(console=make_console(text := StringIO()))
    CliRunner().invoke(command, [str(found), "--branch", "2025.1", *places], obj=output, catch_exceptions=False)
    values = yaml.safe_load(text.getvalue())

    assert shown.exit_code == 0
    assert values == {one.name: one.value for one in osa_variables(contents(FACTS), FACTS, "").variables}
    assert "# OpenStack-Ansible 2025.1, openstack_release 33.0.1" in text.getvalue()
    with pytest.raises(UsageError, match="made before"):
        osa_vars(OsaVarsRequest(places=Places(config=tmp_path, state=tmp_path), bundle=make_bundle("old")))


def test_facts_survive_a_bundle() -> None:
    """What the builder knew is in bundle.json as it was, and a bundle of before has nothing of it."""
    assert parse_contents(format_contents(contents(FACTS))).openstack_ansible == (FACTS,)
    old = {key: value for key, value in json.loads(format_contents(contents())).items() if key not in NEW}
    assert parse_contents(json.dumps(old).encode()) == contents()

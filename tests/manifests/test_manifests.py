"""Every manifest that comes with the project is right, and the examples lock for their targets."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from bundler.model.manifest import Manifest
from bundler.model.manifest_load import load_manifest
from bundler.model.pylock import read_pylock
from bundler.model.requirement import parse_requirement
from tests.manifests.conftest import MANIFESTS, CommandLine

EXAMPLES = sorted((MANIFESTS / "examples").glob("*.yaml"))
EVERY = [*sorted(MANIFESTS.glob("*.yaml")), *EXAMPLES]
OPENSTACK = MANIFESTS / "openstack-2026.1.yaml"
#: What a role for utility hosts takes of the upper constraints.
_CLIENT = re.compile(r"(?:python-.*client.*|(?:aodh|gnocchi)client|osc-placement)", re.IGNORECASE)
AGENT = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "our-agent"
version = "1.0"
scripts = { our-agent = "our_agent:main" }
""",
    "our_agent.py": 'def main():\n    print("1.0")\n',
}


def name_of(path: Path) -> str:
    return path.stem


def read(path: Path) -> Manifest:
    return load_manifest(path, Path.read_bytes).manifest


def locked(lock: Path, target: str, venv: str) -> Mapping[str, str]:
    """Return the versions that a venv's lock for ``target`` holds."""
    path = lock / target / f"pylock.{venv}.toml"
    return {package.name: package.version for package in read_pylock(path.read_text("utf-8"), str(path))}


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_a_manifest_has_no_problems_and_no_warnings(command_line: CommandLine, path: Path) -> None:
    """`manifest check` says so."""
    said = command_line.run("manifest", "check", path)

    assert "no problems" in said
    assert "warning" not in said


def test_openstack_has_every_venv_and_tries_each() -> None:
    """Each venv has a command of its own that must print the version of what it is for."""
    manifest = read(OPENSTACK)

    assert set(manifest.venvs) == {
        *("keystone", "glance", "placement", "nova", "neutron", "cinder", "heat", "horizon", "octavia", "barbican"),
        *("designate", "ironic", "uwsgi", "utility"),
    }
    for venv in manifest.venvs.values():
        assert any("{version[" in smoke.expect for smoke in venv.smoke), venv.path
        assert venv.path.startswith("/openstack/venvs/")


def test_openstack_needs_no_development_package_to_run() -> None:
    """Whatever ends in -dev is for compiling alone."""
    for venv in read(OPENSTACK).venvs.values():
        runtime = venv.distro_packages.runtime
        lists = runtime.values() if isinstance(runtime, dict) else [runtime]
        assert not [name for names in lists for name in names if name.endswith("-dev")], venv.path


def test_openstack_has_every_client_that_the_release_knows() -> None:
    """The utility venv names what OpenStack-Ansible selects from the upper constraints, all of it."""
    upper = (MANIFESTS / "constraints" / "upper-constraints-2026.1.txt").read_text("utf-8")
    known = {canonicalize_name(line.partition("=")[0]) for line in upper.splitlines() if _CLIENT.match(line)}
    utility = {parse_requirement(line).name for line in read(OPENSTACK).venvs["utility"].packages}

    assert len(known) > 30
    assert not known - utility


@pytest.mark.network
@pytest.mark.rootfs
@pytest.mark.isolation
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_openstack_locks_for_another_system(command_line: CommandLine, tmp_path: Path) -> None:
    """Debian 13 gets all venvs; what is published as source only is asked in that system, with its headers."""
    (tmp_path / "north.yaml").write_text(
        f"{{schema: 1, include: [{OPENSTACK}], release: {{name: north}}, targets: [debian-13-x86_64]}}"
    )
    (tmp_path / "constraints").symlink_to(MANIFESTS / "constraints")

    lock = command_line.lock(tmp_path / "north.yaml")

    (target,) = (path for path in lock.iterdir() if path.name.startswith("debian"))
    assert {path.name for path in target.glob("pylock.*.toml")} == {
        f"pylock.{venv}.toml" for venv in read(OPENSTACK).venvs
    }
    keystone = locked(lock, "debian-13-x86_64", "keystone")
    assert {"python-ldap", "systemd-python", "python-qpid-proton"} <= set(keystone)
    assert locked(lock, "debian-13-x86_64", "cinder")["zstd"] == "1.5.7.2"


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ansible-control-node", "django", "private-directory"])
def test_an_example_locks_for_its_targets(command_line: CommandLine, name: str) -> None:
    """Every venv has a lock for every target."""
    path = MANIFESTS / "examples" / f"{name}.yaml"
    manifest = read(path)

    lock = command_line.lock(path)

    wanted = len(manifest.venvs) * len(manifest.targets)
    assert len(list(lock.glob("*/pylock.*.toml"))) == wanted


@pytest.mark.network
@pytest.mark.slow
def test_data_science_has_two_pythons_with_versions_of_their_own(command_line: CommandLine) -> None:
    """A marker in the constraints gives Debian 12 an older pandas than Debian 13."""
    lock = command_line.lock(MANIFESTS / "examples" / "data-science.yaml")
    old, new = (locked(lock, f"debian-{version}-x86_64", "analysis") for version in (12, 13))

    assert old["pandas"].startswith("2.")
    assert not new["pandas"].startswith("2.")
    assert {"numpy", "scipy"} <= set(old) & set(new)


@pytest.mark.network
@pytest.mark.slow
def test_the_git_example_locks_with_an_address_that_exists(command_line: CommandLine, tmp_path: Path) -> None:
    """With a repository of one's own in the place of the example's, the lock holds the tag's commit."""
    repository = tmp_path / "our-agent"
    repository.mkdir()
    for name, text in AGENT.items():
        (repository / name).write_text(text)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(repository)]
    for step in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"], ["tag", "v1.0"]):
        subprocess.run([*git, *step], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    text = (MANIFESTS / "examples" / "private-git.yaml").read_text("utf-8")
    manifest = tmp_path / "private-git.yaml"
    manifest.write_text(text.replace("https://git.example/our-agent@v1.0", f"file://{repository}@v1.0"))

    lock = command_line.lock(manifest)

    (found,) = lock.glob("*/pylock.agent.toml")
    assert commit in found.read_text("utf-8")

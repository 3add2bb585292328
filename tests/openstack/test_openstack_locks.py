"""What `manifest from-openstack` makes of the real data of 2026.1 locks against the index, and fits together."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

#: Compiling for systemd is what root file systems are for; what is pure Python is built on this host.
ON_THIS_HOST = """\
schema: 1
include: [made.yaml]
targets: [auto]
build: {environment: host}
venvs:
  barbican: {targets: {debian: {remove: [systemd-python]}}}
  placement: {targets: {debian: {remove: [systemd-python]}}}
"""


PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "{version}"
dependencies = ["six"]
[tool.setuptools]
py-modules = []
"""
Run = Callable[..., str]


@pytest.fixture
def run(place: Path) -> Run:
    """`bundle-build` beside the data, with a store of its own."""

    def command(*arguments: str) -> str:
        done = subprocess.run(
            [Path(sys.executable).parent / "bundle-build", *arguments],
            cwd=place,
            env={**os.environ, "BUNDLE_STORE": str(place / "store")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return command


@pytest.mark.network
@pytest.mark.slow
def test_two_services_lock_and_fit(place: Path, run: Run) -> None:
    """Placement and barbican, from deliverables, upper constraints and pins to a lock that passes its check."""
    services = ("--service", "placement", "--service", "barbican")
    layers = ("--upper-constraints", "upper-constraints-2026.1.txt", "--pins", "osa-pins-33.0.1.txt")
    run("manifest", "from-openstack", "--deliverables", "deliverables", *layers, *services, "--out", "made.yaml")
    (place / "mine.yaml").write_text(ON_THIS_HOST)

    locked = json.loads(run("lock", "mine.yaml", "--json"))
    checked = json.loads(run("constraints", "check", "mine.yaml", "--json"))

    versions = {venv["venv"]: venv["packages"] for venv in locked["venvs"]}
    assert versions["placement"]["openstack-placement"] == "15.0.0"
    assert versions["barbican"]["barbican"] == "22.0.0"
    assert versions["barbican"]["setuptools"] == "80.10.2"
    assert (checked["violations"], checked["alone"], checked["together"], checked["unknown"]) == ([], [], [], [])
    assert {one["name"] for one in checked["shadowed"]} >= {"numpy", "django"}


def repository(path: Path, name: str, text: str) -> str:
    """Make a git repository with one file, and return its commit."""
    path.mkdir(parents=True)
    (path / name).write_text(text)
    git = ["git", "-C", str(path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.network
@pytest.mark.slow
def test_exact_sources_lock_from_a_mirror(place: Path, run: Run) -> None:
    """Horizon of some commit locks in a version that the upper constraints, which pin another, never saw."""
    mirror, upper = place / "mirror" / "openstack", (place / "upper-constraints-33.0.1.txt").read_text()
    commits = {
        "horizon": repository(
            mirror / "horizon", "pyproject.toml", PROJECT.format(name="horizon", version="25.7.4.dev3")
        ),
        "requirements": repository(mirror / "requirements", "upper-constraints.txt", upper),
    }
    shutil.rmtree(place / "group_vars")
    for name, group in (("horizon", "horizon_all"), ("requirements", "all")):
        (place / "group_vars" / group).mkdir(parents=True)
        (place / "group_vars" / group / "source_git.yml").write_text(
            f'{name}_git_repo: "{{{{ openstack_opendev_base_url }}}}/openstack/{name}"\n'
            f"{name}_git_install_branch: {commits[name]}\n"
            f"{name}_git_track_branch: stable/2026.1\n"
        )
    base = f"openstack_opendev_base_url={mirror.parent.as_uri()}"
    run("manifest", "from-openstack", "--source-git", "group_vars", "--variable", base, "--out", "made.yaml")
    (place / "mine.yaml").write_text("{schema: 1, include: [made.yaml], build: {environment: host}}")

    locked = json.loads(run("lock", "mine.yaml", "--json"))
    checked = json.loads(run("constraints", "check", "mine.yaml", "--json"))

    (venv,) = locked["venvs"]
    assert venv["packages"]["horizon"] == "25.7.4.dev3"
    assert checked["unknown"] == []
    assert "horizon" in {one["name"] for one in checked["shadowed"]}

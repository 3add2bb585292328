"""Locking real services: subsets equal single resolves, and contradicting layers resolve with the pin that wins."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bundler.model.target import Target
from bundler.store.cas import Store
from bundler.workflows.lock import LockRequest, LockResult, lock

MANIFESTS = Path(__file__).parents[2] / "manifests"
UV = Path(sys.executable).parent / "uv"

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> LockResult:
    root = tmp_path_factory.mktemp("openstack")
    document = yaml.safe_load((MANIFESTS / "openstack-bench.yaml").read_text())
    document["venvs"] = {name: document["venvs"][name] for name in ("keystone", "placement", "nova")}
    for layer in document["constraints"]:
        if "file" in layer:
            layer["file"] = os.path.relpath(MANIFESTS / layer["file"], root)
    (root / "release.yaml").write_text(yaml.safe_dump(document))
    return lock(LockRequest(manifest=root / "release.yaml", store=Store(root / "store")))


def single(locked: LockResult, venv: str, target: Target, directory: Path) -> dict[str, str]:
    plan = next(plan for plan in locked.plans if plan.name == venv)
    (directory / "in.txt").write_text("\n".join(one.to_pep508() for one in plan.requirements))
    (directory / "constraints.txt").write_text(locked.lock.effective["release"])
    platform = f"{target.arch}-manylinux_2_28"
    argv = [str(UV), "pip", "compile", "--no-config", "--no-header", "--no-annotate", "--no-emit-index-url", "in.txt"]
    argv += ["-c", "constraints.txt", "--python-version", target.python.full_version, "--python-platform", platform]
    done = subprocess.run(argv, cwd=directory, check=True, capture_output=True, text=True)
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==(\S+)", done.stdout, flags=re.MULTILINE))


@pytest.mark.parametrize("venv", ["keystone", "placement", "nova"])
def test_a_subset_equals_the_single_resolve(locked: LockResult, venv: str, tmp_path: Path) -> None:
    """What the walk takes of the joint resolve is what uv resolves for the venv alone."""
    target = locked.plans[0].target

    found = {one.name: one.version for one in locked.lock.venv(venv, target.name).packages}

    assert found == single(locked, venv, target, tmp_path)


def test_the_pin_wins_over_the_upper_constraint_and_the_lock_says_so(locked: LockResult) -> None:
    """Nova resolves although the two files contradict each other on numpy; the loser is recorded."""
    target = locked.plans[0].target.name

    versions = {one.name: one.version for one in locked.lock.venv("nova", target).packages}

    lost = {one.name: one for one in locked.lock.shadowed}
    assert {"numpy", "django"} <= set(lost)
    assert lost["numpy"].winner_where.startswith("pins ")
    assert "2.2.6" in lost["numpy"].loser
    assert versions["urllib3"] == "2.8.0"
    assert versions.get("numpy", "2.3.5") == "2.3.5"


def test_what_must_be_compiled_has_its_build_requirements_locked(locked: LockResult) -> None:
    """Every package without a wheel has a build lock of wheels, or of packages with build locks themselves."""
    target = locked.plans[0].target.name
    to_build = [one for venv in locked.lock.venvs for one in venv.packages if one.must_build]

    assert to_build
    for package in to_build:
        assert {one.name for one in locked.lock.build(package.name, package.version, target).packages} >= {
            "setuptools"
        }

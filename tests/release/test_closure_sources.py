"""A release of what is in no index: with ``closure: sources`` only the wheels of git and path sources are carried."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.release.conftest import World

pytestmark = [pytest.mark.network, pytest.mark.slow]

MANIFEST = """\
schema: 1
release: {{name: sources, version: "1.0"}}
closure: sources
constraints:
- name: user
  lines: ["setuptools<81"]
venvs:
  web:
    path: /opt/venvs/web-1
    packages: [simplegeneric, "app @ git+{repository}@main"]
"""
PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "app"
version = "4.0"
dependencies = ["iniconfig"]
"""


def repository(root: Path) -> str:
    root.mkdir()
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "app.py").write_text("")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@host.example"]
    for arguments in (["init", "--quiet", "-b", "main"], ["add", "."], ["commit", "--quiet", "-m", "one"]):
        subprocess.run([*git, *arguments], cwd=root, check=True)
    return root.as_uri()


def test_only_wheels_of_sources_are_built_and_carried(built: World, tmp_path: Path) -> None:
    """The git source is built, seed packages are carried; all else is named in constraints and not fetched."""
    world = type(built)(tmp_path / "world")
    world.root.mkdir()
    world.manifest.write_text(MANIFEST.format(repository=repository(tmp_path / "repository")))

    world.build(env={"BUNDLE_STORE": str(built.store)})

    contents = json.loads((world.bundle / "bundle.json").read_text())
    files = [Path(one["path"]).name for one in contents["files"]]
    carried = {name.partition("-")[0] for name in files if name.endswith((".whl", ".zst"))}
    assert carried == {"app", "packaging", "pbr", "pip", "setuptools", "uv", "wheel"}
    assert {f"web-1-{kind}.txt" for kind in ("requirements", "constraints")} <= set(files)
    assert contents["venvs"] == []
    (lock,) = world.lock.glob("*/pylock.web.toml")
    (offered,) = re.findall(r'iniconfig-[^"]*\.whl".*?sha256 = "([0-9a-f]{64})"', lock.read_text(), re.DOTALL)
    assert not (built.store / "blobs" / offered[:2] / offered).exists()

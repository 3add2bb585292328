"""A small real release, built once for all workers of a run: three venvs, one compiled sdist, this host's target."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bare import make_bare

BIN = Path(sys.executable).parent
MANIFEST = """\
schema: 1
release: {name: small, version: "1.0"}
constraints:
- name: user
  lines: ["setuptools<81", "click<9"]
build: {constraints: ["setuptools<81"]}
venvs:
  web:
    path: /opt/venvs/web-1
    packages: [bottle, click]
    smoke: [{run: python -c "import bottle; print(bottle.__version__)", expect: "{version[bottle]}"}]
  paint:
    path: /opt/venvs/paint-1
    packages: [pygments, click, markupsafe]
    smoke: [{run: pygmentize -V, expect: "{version[pygments]}"}]
  source:
    path: /opt/venvs/source-1
    packages: [simplegeneric]
"""


@dataclass(frozen=True)
class World:
    """Directories of one user: manifest, lock, store, configuration, output."""

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / "small.yaml"

    @property
    def lock(self) -> Path:
        return self.root / "small.lock"

    @property
    def out(self) -> Path:
        return self.root / "dist"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def signers(self) -> Path:
        return self.root / "config" / "bundle-build" / "development-key" / "allowed_signers"

    @property
    def bundle(self) -> Path:
        (found,) = (path.parent for path in self.out.glob("*/bundle.json"))
        return found

    @property
    def sums(self) -> bytes:
        return (self.bundle / "SHA256SUMS").read_bytes()

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        real = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        config = self.root / "config"
        config.mkdir(parents=True, exist_ok=True)
        for tool in ("pip", "uv", "git"):
            if (real / tool).is_dir() and not (config / tool).exists():
                (config / tool).symlink_to(real / tool)
        return {
            **os.environ,
            "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
            "BUNDLE_STORE": str(self.store),
            "XDG_CONFIG_HOME": str(config),
            **(more or {}),
        }

    def command(self, *arguments: str | Path) -> list[str]:
        return [str(BIN / "bundle-build"), *map(str, arguments)]

    def run(
        self, *arguments: str | Path, status: int = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=False, env=self.env(env), cwd=self.root
        )
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def build(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Path:
        self.run("build", self.manifest, "--out", self.out, "--development-key", *arguments, env=env)
        return self.bundle

    def json(self, *arguments: str | Path) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.run(*arguments, "--json").stdout)
        return found

    def another(self, root: Path) -> World:
        """Return another user with the same manifest, lock and key, but nothing else."""
        other = World(root)
        root.mkdir(parents=True)
        shutil.copy(self.manifest, other.manifest)
        shutil.copytree(self.lock, other.lock)
        key = "config/bundle-build"
        shutil.copytree(self.root / key, root / key)
        return other


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    path = root / "shared-release"
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture(scope="session")
def built(shared: Path) -> World:
    """Give the small release, built."""
    world = World(shared / "built")
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not world.out.exists():
            world.root.mkdir()
            world.manifest.write_text(MANIFEST)
            world.build()
    return world


@pytest.fixture(scope="session")
def unpacked(built: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give all volumes, unpacked with stock tar into one directory."""
    into = tmp_path_factory.mktemp("unpacked")
    for volume in sorted(built.bundle.glob("*-[0-9][0-9][0-9].tar.zst")):
        subprocess.run(["tar", "--zstd", "-C", into, "-xf", volume], check=True)
    return into


@pytest.fixture
def fresh(built: World, tmp_path: Path) -> World:
    """Give another user with the same lock, who starts with an empty store."""
    return built.another(tmp_path / "fresh")


@pytest.fixture(scope="session", params=["bookworm", "trixie"])
def bare_root(request: pytest.FixtureRequest, shared: Path) -> Path:
    """Give the root file system of a bare Debian 12 or 13."""
    return make_bare(request.param, shared)

"""The indexes of a real release, from a real build: stock clients need an address and nothing else."""

from __future__ import annotations

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundler.buildenv.host_target import host_target

if TYPE_CHECKING:
    from tests.release.conftest import World

pytestmark = [pytest.mark.network, pytest.mark.slow]
BIN = Path(sys.executable).parent
SEEDS = {"packaging", "pbr", "pip", "setuptools", "uv", "wheel"}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url(unpacked: Path) -> Iterator[str]:
    """Serve what stock tar made of the volumes."""
    handler = functools.partial(Quiet, directory=str(unpacked))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def contents(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.bundle / "bundle.json").read_bytes())
    return found


def run(*arguments: object, home: Path) -> str:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(home), "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
    done = subprocess.run([str(one) for one in arguments], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_venv_is_made_from_the_address_alone(url: str, tmp_path: Path) -> None:
    """An empty environment gets uv by pip's --index-url, and by that uv the packages of venvs."""
    run(BIN / "virtualenv", "-q", "--no-download", "-p", "/usr/bin/python3", tmp_path / "venv", home=tmp_path)
    python, uv = tmp_path / "venv/bin/python", tmp_path / "venv/bin/uv"

    run(
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--index-url",
        f"{url}/simple/{host_target().name}/",
        "uv",
        home=tmp_path,
    )
    index = ("--index-url", f"{url}/simple/all/")
    run(uv, "pip", "install", "-q", "-p", python, *index, "pygments", "simplegeneric", home=tmp_path)

    listed = json.loads(run(uv, "pip", "list", "-p", python, "--format", "json", home=tmp_path))
    assert {"pygments", "simplegeneric", "uv"} <= {one["name"].lower() for one in listed}


def test_the_role_s_files_let_a_venv_be_installed(url: str, unpacked: Path, tmp_path: Path) -> None:
    """With requirements, constraints and --find-links, as the role gives them to pip, the venv is the locked one."""
    (folder,) = unpacked.glob("os-releases/*/*/requirements")
    wheels = f"{url}/{folder.parent.relative_to(unpacked)}/wheels/"
    run(BIN / "virtualenv", "-q", "--no-download", "-p", "/usr/bin/python3", tmp_path / "venv", home=tmp_path)
    constraints = [
        word for kind in ("global-constraints", "constraints") for word in ("-c", folder / f"paint-1-{kind}.txt")
    ]
    install = (tmp_path / "venv/bin/python", "-m", "pip", "install", "-q", "-U", "--no-index", "--find-links", wheels)

    seeds = ("--no-build-isolation", "pip", "setuptools", "wheel", "pbr", "packaging")
    run(*install, *constraints, *seeds, "--pre", "-r", folder / "paint-1-requirements.txt", home=tmp_path)

    found = run(tmp_path / "venv/bin/python", "-m", "pip", "freeze", "--all", home=tmp_path).lower().splitlines()
    assert set((folder / "paint-1-constraints.txt").read_text().splitlines()) <= set(found)


def test_seed_packages_are_locked_and_told_of(built: World) -> None:
    """Every target carries them by versions that the layers allow; the evidence has a lock and an SBOM of them."""
    (seeds,) = contents(built)["seeds"]
    packages = {one["name"]: one["version"] for one in seeds["packages"]}
    names = subprocess.run(
        ["tar", "--zstd", "-tf", built.bundle / "evidence.tar.zst"], capture_output=True, text=True, check=True
    ).stdout

    assert set(packages) >= SEEDS
    assert int(packages["setuptools"].partition(".")[0]) < 81
    assert f"locks/{seeds['target']}/seed/pylock.toml" in names
    assert f"sbom/{seeds['target']}/_seed.cdx.json" in names
    assert "seed packages" in built.run("inspect", built.bundle).stdout.lower()

"""Disks that are really full, or give back other bytes: one error each; a rerun ends as an undisturbed run does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
PROJECT = Path(__file__).parents[2]
#: Runs inside a mount namespace that has a small file system at /small: leaves so much room, runs, and so on.
INSIDE = """
import json, os, pathlib, shutil, subprocess, sys
seed, rooms, argv = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
small = pathlib.Path("/small")
filler = small / "filler"
shutil.copytree(seed, small, dirs_exist_ok=True, symlinks=True)
results = []
for room in rooms:
    filler.unlink(missing_ok=True)
    free = os.statvfs(small)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - room, 1))
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "TMPDIR": "/tmp"})
    results.append((done.returncode, done.stderr))
filler.unlink()
done = subprocess.run(argv, capture_output=True, text=True)
results.append((done.returncode, done.stderr))
shutil.copytree(small, sys.argv[1] + "-after", symlinks=True)
print(json.dumps(results))
"""
MANIFEST = """\
schema: 1
seed_packages: []
release: {name: small, version: "1.0"}
constraints:
- name: user
  lines: ["setuptools<81"]
build: {constraints: ["setuptools<81"]}
venvs:
  web:
    path: /opt/venvs/web-1
    packages: [bottle]
  source:
    path: /opt/venvs/source-1
    packages: [simplegeneric]
"""


def run_small(seed: Path, size: int, rooms: list[int], *argv: str, env: dict[str, str]) -> list[Any]:
    """Run a command with each room and then with all of it; return (status, stderr) of every run.

    ``seed`` is copied to the small file system first; what lies there at the end is copied to ``<seed>-after``.
    """
    bwrap = ["bwrap", "--dev-bind", "/", "/", "--size", str(size), "--tmpfs", "/small"]
    inside = [sys.executable, "-c", INSIDE, str(seed), json.dumps(rooms), *argv]
    done = subprocess.run([*bwrap, *inside], capture_output=True, text=True, check=True, env=env)
    results: list[Any] = json.loads(done.stdout)
    return results


def check(results: list[Any]) -> None:
    """Every run but the last says in one line that there is no room; the last one ends well."""
    for status, said in results[:-1]:
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        assert status == 63, said
        assert len(errors) == 1, said
        assert "space" in errors[0] or "room" in errors[0], said
        assert len(errors[0]) < 400
        assert "Traceback" not in said
    assert results[-1][0] == 0, results[-1][1]


def prepare(directory: Path, scenario: str) -> Path:
    """Make the old state of a scenario in a new directory."""
    directory.mkdir()
    code = f"import pathlib; from tests.faults.scenarios import *; SCENARIOS[{scenario!r}]().prepare("
    code += f"pathlib.Path({str(directory)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(PROJECT)})
    return directory


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Give the environment of a user with the real tools' configuration and an own one of ours."""
    real = Path(os.environ["XDG_CONFIG_HOME"])
    own = tmp_path / "config"
    own.mkdir()
    for tool in ("pip", "uv", "git"):
        if (real / tool).exists():
            (own / tool).symlink_to((real / tool).resolve())
    return {**os.environ, "XDG_CONFIG_HOME": str(own), "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]])}


def build_once(home: Path, env: dict[str, str]) -> tuple[list[str], Path]:
    """Build below ``home``; return the command without its --out, and the bundle."""
    manifest = home / "small.yaml"
    manifest.write_text(MANIFEST)
    build = ["bundle-build", "build", str(manifest), "--development-key"]
    store = {"BUNDLE_STORE": str(home / "store")}
    subprocess.run([*build, "--out", str(home / "dist")], check=True, env={**env, **store})
    bundle = next((home / "dist").glob("*/bundle.json")).parent
    return build, bundle


def some_blobs(store: Path, bundle: Path) -> dict[str, str]:
    """Return the digests of a wheel, of a layer and of the installer."""
    contents = json.loads((bundle / "bundle.json").read_text())
    wheel = next(file for file in contents["files"] if file["path"].endswith(".whl"))
    archive = next(file for file in contents["files"] if file["path"].endswith(".tar.zst"))
    (reference,) = (store / "refs" / "installer").rglob("*.json")
    installer = json.loads(reference.read_text())["value"]["digest"]
    return {"wheel": wheel["sha256"], "layer": archive["blobs"][0], "installer": installer}


def seed_installer(store: Path, into: Path) -> None:
    """Start another store with the installer of ``store``: making it takes long and is not the point here."""
    for reference in (store / "refs" / "installer").rglob("*.json"):
        digest = json.loads(reference.read_text())["value"]["digest"]
        for path in (reference, store / "blobs" / digest[:2] / digest):
            copy = into / path.relative_to(store)
            copy.parent.mkdir(parents=True)
            copy.write_bytes(path.read_bytes())


@pytest.mark.isolation
def test_a_signature_finds_no_room(tmp_path: Path, env: dict[str, str]) -> None:
    """Signing on a full stick leaves the bundle as it was; with room again it signs."""
    seed = prepare(tmp_path / "seed", "sign")
    argv = ("bundle-build", "sign", "/small/bundle", "--key", "/small/key", "--signer", "alice")

    check(run_small(seed, 4_000_000, [0, 0], *argv, env=env))

    before = {path.name for path in (seed / "bundle").iterdir()}
    after = {path.name for path in (tmp_path / "seed-after" / "bundle").iterdir()}
    assert after - before == {"SHA256SUMS.alice.sig"}


@pytest.mark.isolation
@pytest.mark.network
@pytest.mark.slow
def test_a_build_that_runs_out_of_room_again_and_again_ends_the_same(tmp_path: Path, env: dict[str, str]) -> None:
    """However little room a build finds, it says so; with room it gives the bundle that an undisturbed one gives."""
    seed = tmp_path / "seed"
    build, expected = build_once(tmp_path, env)
    seed_installer(tmp_path / "store", seed / "store")

    rooms = [0, 300_000, 2_000_000, 4_000_000, 7_000_000, 12_000_000, 20_000_000]
    results = run_small(
        seed, 200_000_000, rooms, *build, "--out", "/small/dist", env={**env, "BUNDLE_STORE": "/small/store"}
    )

    check(results)
    found = next((tmp_path / "seed-after" / "dist").glob("*/bundle.json")).parent
    assert (found / "SHA256SUMS").read_bytes() == (expected / "SHA256SUMS").read_bytes()
    assert {path.name for path in found.iterdir()} == {path.name for path in expected.iterdir()}


@pytest.mark.network
@pytest.mark.slow
def test_a_damaged_blob_reaches_no_bundle(tmp_path: Path, env: dict[str, str]) -> None:
    """A wheel, a layer, the installer with other bytes of the same size: named, removed, made again by a rerun."""
    build, expected = build_once(tmp_path, env)
    env["BUNDLE_STORE"] = str(tmp_path / "store")
    sums = (expected / "SHA256SUMS").read_bytes()
    for kind, digest in some_blobs(tmp_path / "store", expected).items():
        path = tmp_path / "store" / "blobs" / digest[:2] / digest
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        expected.rename(tmp_path / f"before-{kind}")

        again = [*build, "--out", str(tmp_path / "dist")]
        refused = subprocess.run(again, capture_output=True, text=True, check=False, env=env)
        assert refused.returncode == 62, f"{kind}: {refused.stderr}"
        assert digest in refused.stderr
        assert not expected.exists()
        subprocess.run(again, check=True, env=env)

        assert (expected / "SHA256SUMS").read_bytes() == sums, kind

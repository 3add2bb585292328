"""A real release from manifest to a bundle that stock tools accept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.release.conftest import World

pytestmark = [pytest.mark.network, pytest.mark.slow]
BIN = Path(sys.executable).parent


def sh(script: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        ["sh", "-euc", script],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **env},
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def venvs(world: World) -> dict[str, dict[str, Any]]:
    contents = json.loads((world.bundle / "bundle.json").read_bytes())
    return {venv["name"]: venv for venv in contents["venvs"]}


def test_verify_sh_accepts_the_bundle_with_stock_tools(built: World) -> None:
    """A host with ssh-keygen and sha256sum, and nothing of ours, accepts it."""
    output = sh(f"sh verify.sh '{built.signers}' .", built.bundle)

    assert "development" in output


def test_our_verifier_accepts_it_to_the_last_blob(built: World) -> None:
    """Every blob and file is decoded and checked."""
    found = built.json("verify", built.bundle, "--allowed-signers", built.signers, "--deep")

    assert found["signers"] == ["development"]


def test_the_carried_installer_asks_for_what_each_python_needs(built: World) -> None:
    """What one Python needs and another has itself is asked for with its marker."""
    with zipfile.ZipFile(built.bundle / "bundle-install") as archive:
        asked = json.loads(archive.read("PEX-INFO"))["requirements"]

    assert {one.partition("==")[0] for one in asked} == {
        "backports-zstd", "click", "cryptography", "paramiko", "pyyaml", "rich"
    }  # fmt: skip
    assert any(one.endswith('; python_full_version < "3.14"') for one in asked)


def test_the_carried_installer_verifies_the_bundle(built: World, tmp_path: Path) -> None:
    """bundle-install starts with the system's Python alone and gives the same verdict."""
    version = sh("/usr/bin/python3 ./bundle-install --version", built.bundle, HOME=str(tmp_path))
    sh(
        f"/usr/bin/python3 ./bundle-install verify . --allowed-signers '{built.signers}' --deep",
        built.bundle,
        HOME=str(tmp_path),
    )

    assert "bundle-install" in version


def test_a_second_build_changes_nothing(built: World) -> None:
    """The same command again leaves the very same bundle."""
    before = {entry.name: entry.stat().st_mtime_ns for entry in built.bundle.iterdir()}

    built.build()

    assert {entry.name: entry.stat().st_mtime_ns for entry in built.bundle.iterdir()} == before


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_stock_tools_install_from_the_unpacked_volumes(
    tool: str, built: World, unpacked: Path, tmp_path: Path
) -> None:
    """From the bundle alone, without a network and without our code, pip and uv install the archive's versions."""
    uv = tmp_path / "uv"
    shutil.copy(BIN / "uv", uv)
    for name, venv in venvs(built).items():
        (lock,) = unpacked.glob(f"os-releases/*/*/locks/pylock.{name}.toml")
        into = tmp_path / name
        if tool == "pip":
            subprocess.run([BIN / "virtualenv", "-q", "--no-download", "-p", "/usr/bin/python3", into], check=True)
            wheel = next(lock.parent.parent.glob("wheels/pip-*.whl"))
            install = f"'{into}/bin/python' '{wheel}/pip' install -q --no-index -r '{lock}'"
        else:
            sh(f"'{uv}' venv -q --offline -p /usr/bin/python3 '{into}'", tmp_path)
            install = f"'{uv}' pip install -q --offline -p '{into}' --preview -r '{lock}'"
        sh(f'bwrap --bind / / --dev /dev --unshare-net sh -c "{install}"', tmp_path, HOME=str(tmp_path))
        listed = json.loads(sh(f"'{uv}' pip list -q -p '{into}' --format json", tmp_path))
        found = {one["name"].lower().replace("_", "-"): one["version"] for one in listed}
        wanted = {one["name"]: one["version"] for one in venv["packages"]}

        assert wanted.items() <= found.items()


def test_a_venv_archive_works_wherever_it_is_unpacked_and_moved(built: World, tmp_path: Path) -> None:
    """extract, stock tar, run; move the directory, run again; pip check is clean and pip works."""
    archive = str(venvs(built)["paint"]["archive"])
    built.run("extract", built.bundle, archive, "--out", tmp_path / "paint.tar.zst")
    sh("mkdir 'first place' && tar --zstd -C 'first place' -xf paint.tar.zst", tmp_path)
    first = sh("'first place/bin/pygmentize' -V", tmp_path)
    sh("mv 'first place' second", tmp_path)
    second = sh("second/bin/pygmentize -V && second/bin/python -m pip check && second/bin/pip list", tmp_path)

    assert first in second
    assert "No broken requirements" in second
    assert "MarkupSafe" in second or "markupsafe" in second


def test_the_checksum_beside_an_archive_is_right(built: World, unpacked: Path, tmp_path: Path) -> None:
    """sha256sum -c accepts the archive by the file that is served beside it."""
    archive = str(venvs(built)["web"]["archive"])
    built.run("extract", built.bundle, archive, "--out", tmp_path / Path(archive).name)
    shutil.copy(unpacked / f"{archive}.sha256", tmp_path)

    assert "OK" in sh(f"sha256sum -c '{Path(archive).name}.sha256'", tmp_path)


def test_the_compiled_package_is_marked_as_built(built: World) -> None:
    """The sdist without a wheel was compiled here, and the contents say so."""
    packages = {one["name"]: one for one in venvs(built)["source"]["packages"]}

    assert packages["simplegeneric"]["kind"] == "sdist"


def test_every_venv_is_proved(built: World) -> None:
    """Each venv carries a proof that passed."""
    assert all(venv["proof"]["passed"] for venv in venvs(built).values())


def test_without_a_key_nothing_is_signed_until_sign(fresh: World) -> None:
    """A bundle built without a key is refused by verify, and accepted once it was signed."""
    fresh.run("build", fresh.manifest, "--out", fresh.out)
    fresh.run("verify", fresh.bundle, "--allowed-signers", fresh.signers, status=70)
    fresh.run("sign", fresh.bundle, "--key", fresh.signers.with_name("key"), "--signer", "development")

    fresh.run("verify", fresh.bundle, "--allowed-signers", fresh.signers)

"""`bundle-build inspect`: what is in a bundle."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bundler.model.contents_json import parse_contents

Run = Callable[..., Any]
KEYS = {
    "id", "name", "version", "sequence", "floor", "created", "tool", "base", "sha256sums",
    "targets", "venvs", "volumes", "sizes", "signatures", "seeds",
}  # fmt: skip


def test_json_has_its_documented_shape(signed: Path, bundle_build: Run) -> None:
    """Every documented key is there, for two venvs on two targets, each with its packages and layers."""
    data = bundle_build("inspect", signed, "--json").data

    assert set(data) == KEYS
    assert data["id"] == "demo-2026.1-1795123456"
    assert [(venv["name"], venv["target"]) for venv in data["venvs"]] == [
        (name, target) for name in ("keystone", "nova") for target in ("debian-12-x86_64", "ubuntu-24.04-x86_64")
    ]
    nova = data["venvs"][2]
    assert {"archive", "size", "own_size", "packages", "proof", "install_path", "python"} <= set(nova)
    assert [package["name"] for package in nova["packages"]] == ["nova", "shared"]
    assert nova["packages"][0]["layers"]
    assert nova["packages"][0]["wheel"] == "nova-33.0-py3-none-any.whl"
    assert data["targets"][0]["wheels"] == {"count": 3, "size": data["targets"][1]["wheels"]["size"]}
    assert [volume["state"] for volume in data["volumes"]] == ["present"] * len(data["volumes"])


def test_sizes_add_up(bundle: Path, bundle_build: Run) -> None:
    """Bytes of volumes, of files and of distinct blobs are those of bundle.json; the saving is their difference."""
    contents = parse_contents((bundle / "bundle.json").read_bytes())
    blobs = {digest for file in contents.files for digest in file.blobs}

    sizes = bundle_build("inspect", bundle, "--json").data["sizes"]

    assert sizes["medium"] == sum(path.stat().st_size for path in bundle.glob("*.tar.zst") if "evid" not in path.name)
    assert sizes["files"] == sum(file.size for file in contents.files)
    assert sizes["blobs"] == sum(
        blob.size for volume in contents.volumes for blob in volume.blobs if blob.sha256 in blobs
    )
    assert sizes["saved"] == sizes["files"] - sizes["blobs"] > sizes["files"] // 2


def test_own_bytes_of_a_venv_are_those_that_no_other_has(bundle: Path, bundle_build: Run) -> None:
    """The layer of one target's nova is the other's too, so that no venv has bytes of its own until one changes."""
    contents = parse_contents((bundle / "bundle.json").read_bytes())
    sizes = {blob.sha256: blob.size for volume in contents.volumes for blob in volume.blobs}

    venvs = bundle_build("inspect", bundle, "--json").data["venvs"]

    assert [venv["own_size"] for venv in venvs] == [0, 0, 0, 0]
    nova = venvs[2]
    assert nova["packages"][0]["size"] == sizes[nova["packages"][0]["layers"][0]] > 9000


def test_a_signature_is_shown_as_unchecked(signed: Path, bundle_build: Run) -> None:
    """The signer's name and the key it claims are shown, with the word that nobody checked."""
    data = bundle_build("inspect", signed, "--json").data["signatures"]
    text = bundle_build("inspect", signed).text

    assert [(one["signer"], one["verified"], one["key"][:7]) for one in data] == [("alice", False, "SHA256:")]
    assert "signature by alice (not checked here), key SHA256:" in text


def test_a_venv_is_listed_with_its_packages(bundle: Path, bundle_build: Run) -> None:
    """--venv and --target narrow the tables down and add the packages."""
    ran = bundle_build("inspect", bundle, "--venv", "nova", "--target", "debian-12-x86_64")

    assert "nova on debian-12-x86_64: 2 packages" in ran.text
    assert "shared-1.0-py3-none-any.whl" in ran.text
    assert "ubuntu" not in ran.text
    assert "keystone" not in ran.text


def test_an_unknown_venv_names_the_nearest(bundle: Path, bundle_build: Run) -> None:
    """A venv that the bundle has not is a usage error that offers what was meant."""
    ran = bundle_build("inspect", bundle, "--venv", "nvoa", "--json")

    assert ran.status == 2
    assert (ran.error["error"], ran.error["hint"]) == ("UsageError", "did you mean nova?")


def test_a_missing_and_a_cut_volume_are_named(bundle: Path, bundle_build: Run) -> None:
    """A site may carry a part of the volumes: inspect says which are not here, and which are too short."""
    (bundle / "debian-12-x86_64-001.tar.zst").unlink()
    common = bundle / "common-001.tar.zst"
    common.write_bytes(common.read_bytes()[:-1])

    ran = bundle_build("inspect", bundle, "--json")

    states = {volume["name"]: volume["state"] for volume in ran.data["volumes"]}
    assert ran.status == 0
    assert states == {
        "common-001.tar.zst": "wrong size",
        "debian-12-x86_64-001.tar.zst": "missing",
        "ubuntu-24.04-x86_64-001.tar.zst": "present",
    }
    assert "MISSING" in bundle_build("inspect", bundle).text


def test_a_changed_bundle_json_is_refused(
    bundle: Path, bundle_build: Run, damage: Callable[[Path, int], None]
) -> None:
    """Nothing is shown of a bundle.json that SHA256SUMS does not list."""
    damage(bundle / "bundle.json", 40)

    ran = bundle_build("inspect", bundle, "--json")

    assert (ran.status, ran.out, ran.error["error"]) == (61, b"", "IntegrityError")


def test_a_tar_of_a_bundle_shows_the_same(bundle: Path, bundle_build: Run, tmp_path: Path) -> None:
    """An uncompressed tar is looked into as its directory is."""
    subprocess.run(["tar", "-cf", tmp_path / "b.tar", "-C", tmp_path, "bundle"], check=True)

    assert (
        bundle_build("inspect", tmp_path / "b.tar", "--json").data == bundle_build("inspect", bundle, "--json").data
    )


def test_what_is_no_bundle_is_told_in_one_line(tmp_path: Path, bundle_build: Run) -> None:
    """An ordinary directory is refused with the name of what it lacks."""
    ran = bundle_build("inspect", tmp_path)

    assert ran.status == 64
    assert "error: SHA256SUMS is missing" in ran.err

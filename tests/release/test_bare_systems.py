"""The installer on Debian systems that have python3 and OpenSSH and nothing else, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.files import sha256_of
from tests.bare import Bare
from tests.release.conftest import World

pytestmark = [pytest.mark.rootfs, pytest.mark.network, pytest.mark.slow]


@pytest.fixture
def bare(bare_root: Path, built: World, tmp_path: Path) -> Bare:
    (tmp_path / "here").mkdir()
    return Bare(bare_root, {"/stick": built.out, "/signers": built.signers.parent, "/here": tmp_path / "here"})


@pytest.fixture
def installer(bare: Bare, built: World) -> str:
    bare.run("cp", f"/stick/{built.bundle.name}/bundle-install", "/here/bundle-install")
    return "/here/bundle-install"


def test_it_starts(bare: Bare, installer: str) -> None:
    """It says its version, twice: the first start makes its cache, the second uses it."""
    first = bare.run(installer, "--version").stdout

    second = bare.run(installer, "--version").stdout

    assert first == second
    assert first.startswith("bundle-install, version ")


def test_it_verifies(bare: Bare, installer: str, built: World) -> None:
    """It verifies the bundle with an allowed_signers file."""
    done = bare.run(
        installer, "verify", "--allowed-signers", "/signers/allowed_signers", f"/stick/{built.bundle.name}"
    )

    assert "accepted" in done.stdout


def test_it_applies_to_a_repo_on_the_same_host(bare: Bare, installer: str, built: World, tmp_path: Path) -> None:
    """With trust begun and one local repo host, apply serves the release, and the site's own checks find it right."""
    config = tmp_path / "here" / "etc"
    config.mkdir()
    (config / "site.yaml").write_text("name: bare\nrepo_hosts: [{name: repo, transport: local, root: /here/repo}]\n")
    places = ("--config-dir", "/here/etc", "--state-dir", "/here/var")
    digest = sha256_of(built.out / "trust-0001" / "SHA256SUMS")

    bare.run(installer, "trust", "init", *places, "--root-digest", digest, "/stick")
    bare.run(installer, "apply", "--yes", *places, "/stick")

    assert "as it was signed" in bare.run(installer, "check", *places).stdout
    served = tmp_path / "here" / "repo" / "os-releases"
    assert len(list(served.rglob("*.tar.zst"))) == 3


def test_it_travels_light(built: World) -> None:
    """One file for five Pythons and two architectures has at most 30 MB."""
    assert (built.bundle / "bundle-install").stat().st_size <= 30_000_000

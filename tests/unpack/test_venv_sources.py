"""The small real release: unpacked from the bundle, from a directory, from a URL, and over SSH."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundler.bundle.reader import open_bundle
from bundler.deploy import venv_hosts
from bundler.deploy.kept import keep_release
from bundler.deploy.places import Places
from bundler.deploy.trust_store import TrustStore, read_container
from bundler.workflows.site import venv
from tests.release.conftest import BIN
from tests.sshd import Sshd
from tests.unpack.conftest import serving, tree

if TYPE_CHECKING:
    from tests.release.conftest import World

pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture
def served(built: World, tmp_path: Path) -> Path:
    """Give the root of a repo host with the venv archives of the release."""
    root = tmp_path / "repo"
    with open_bundle(built.bundle) as bundle:
        for file in bundle.contents.files:
            if "/venvs/" in file.path:
                path = root / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"".join(bundle.stream_file(file.path)))
    return root


def install(*arguments: str | Path, status: int = 0) -> Any:
    done = subprocess.run(
        [str(BIN / "bundle-install"), *map(str, arguments), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout if status == 0 else done.stderr.splitlines()[-1])


def bottle(venv: Path) -> str:
    code = "import bottle, click; print(bottle.__name__)"
    return subprocess.run([venv / "bin" / "python", "-c", code], capture_output=True, text=True, check=True).stdout


def test_from_the_bundle_whose_signature_counts(built: World, tmp_path: Path) -> None:
    """Blobs come straight from the volumes; the venv is what tar makes of the archive, and it runs."""
    found = install(
        "unpack", "web", "paint", "--from", built.bundle, "--allowed-signers", built.signers, "--into", tmp_path / "v"
    )

    assert [Path(one["path"]).name for one in found["venvs"]] == ["web-1", "paint-1"]
    assert bottle(tmp_path / "v" / "web") == "bottle\n"


def test_a_bundle_that_nobody_trusted_signed_is_refused(built: World, tmp_path: Path) -> None:
    """Without a trusted signature nothing of a bundle is unpacked."""
    signers = tmp_path / "signers"
    signers.write_text(built.signers.read_text().replace("bundle@offline", "other@offline"))
    error = install(
        "unpack", "web", "--from", built.bundle, "--allowed-signers", signers, "--into", tmp_path / "v", status=70
    )

    assert error["error"] == "SignatureRefused"
    assert not (tmp_path / "v").exists()


def test_from_a_repo_host(served: Path, tmp_path: Path) -> None:
    """An archive that comes over HTTP is what its digest says, or is refused; facts follow."""
    (archive,) = served.rglob("web-1.tar.zst")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    fact = tmp_path / "x.fact"
    with serving(served) as url:
        source = f"{url}/{archive.parent.relative_to(served)}"
        command = ("unpack", "web-1", "--from", source, "--into", tmp_path / "v", "--fact", f"{fact}:web:venv_tag=1")
        install(*command, "--sha256", "0" * 64, status=61)
        found = install(*command, "--sha256", digest)

    plain = tmp_path / "plain"
    plain.mkdir()
    subprocess.run(["tar", "--zstd", "-xf", archive, "-C", plain], check=True)
    assert tree(plain) == tree(tmp_path / "v" / "web-1")
    assert found["venvs"][0]["changed"]
    assert fact.read_text() == "[web]\nvenv_tag = 1\n"
    assert not list((tmp_path / "v" / ".bundle-install").glob("download-*"))


@pytest.mark.sshd
@pytest.mark.parametrize("fetch", [False, True], ids=["sent", "fetched"])
def test_over_ssh(built: World, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: bool) -> None:
    """From the deployment host: the installer is sent once, the venv runs there; a host that is away is named."""
    monkeypatch.setattr(venv, "HOME", venv_hosts.HOME.__class__(tmp_path / "opt"))
    places = Places(config=tmp_path / "etc", state=tmp_path / "var")
    trust = read_container(built.out / "trust-0001")
    TrustStore(places).init(trust, hashlib.sha256(trust["SHA256SUMS"]).hexdigest())
    with open_bundle(built.bundle) as bundle:
        digest = bundle.digest
    (places.staging).mkdir(parents=True)
    (places.staging / digest).symlink_to(built.bundle)
    keep_release(places, built.bundle)
    with Sshd(tmp_path / "sshd") as sshd, serving(served) as url:
        host = f"name: far, address: 127.0.0.1, port: {sshd.port}, user: {sshd.user}"
        gone = "name: gone, address: 127.0.0.1, port: 1"
        places.site.write_text(
            f"name: here\nservice_hosts:\n- {{{host}}}\n- {{{gone}}}\n"
            f"ssh: {{identity: {sshd.identity}, agent: false, known_hosts: {sshd.known_hosts}, connect_timeout: 5}}\n"
        )
        request = venv.VenvRequest(
            places=places,
            hosts=("far", "gone"),
            venvs=("web",),
            release=bundle.contents.id,
            fetch=url if fetch else "",
            into=str(tmp_path / "v"),
            facts=(f"{tmp_path}/x.fact:web:venv_tag=1",),
        )
        first = venv.install_venvs(request)
        second = venv.install_venvs(request)

    assert [one.error is None for one in first.results] == [True, False]
    assert (first.results[0].venvs[0]["changed"], second.results[0].venvs[0]["changed"]) == (True, False)
    assert bottle(tmp_path / "v" / "web") == "bottle\n"
    assert (tmp_path / "x.fact").exists()
    assert len(list((tmp_path / "opt").glob("*/bundle-install"))) == 1
    assert "venv installed" in places.log.read_text()

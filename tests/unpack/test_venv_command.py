"""`bundle-install venv` against a real sshd: which release counts, going back, distrust, and a cut in the middle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from click.testing import CliRunner

from bundler.bundle.layout import SUMS
from bundler.cli.context import Output
from bundler.cli.install import group
from bundler.deploy import venv_session
from bundler.deploy.trust_store import TrustStore
from bundler.errors import BundleRevoked, TransferFailed, TrustRefused
from bundler.model.contents import VenvEntry
from bundler.model.site import Ssh, TransportName
from bundler.model.trust import Distrust
from bundler.transport.drivers import connect
from bundler.transport.limiter import Limiter
from bundler.transport.port import Channel, Endpoint, Transport
from bundler.workflows.site import venv as workflow
from bundler.workflows.site.rollback import RollbackRequest, rollback
from tests.bundles import DEBIAN, Keys, Sample, keys, make_sample
from tests.deploy.scene import LINE, Scene
from tests.release.conftest import BIN
from tests.sshd import Sshd
from tests.unpack.conftest import END_FRAME, SHARED, layer, own_frame

__all__ = ["keys"]

pytestmark = pytest.mark.sshd


def with_venv(number: int) -> Sample:
    """Return a sample that brings the venv nova, of which every release has its own layer and much noise."""
    sample = make_sample(number)
    noise = hashlib.shake_256(str(number).encode()).hexdigest(150_000)
    own = layer({"number.py": f"{number}\n", "noise.txt": noise})
    path = f"os-releases/2026.1/{DEBIAN}/venvs/nova-{number}.tar.zst"
    sample.file(path, [SHARED, own, own_frame(), END_FRAME], DEBIAN)
    sample.venvs.append(
        VenvEntry(
            name="nova",
            target=DEBIAN,
            python="3.11.2",
            install_path=f"/openstack/venvs/nova-{number}",
            archive=path,
            packages=(),
            console_scripts=(),
            proof=sample.venvs[0].proof,
        )
    )
    return sample


@dataclass
class Command:
    """The command line of the deployment host, and what the service host has then."""

    scene: Scene
    venvs: Path
    #: Where things lie on the service host before they are unpacked.
    home: Path

    def run(self, *words: str, host: str = "far") -> Any:
        places = self.scene.places
        options = ["--config-dir", str(places.config), "--state-dir", str(places.state), "--into", str(self.venvs)]
        return CliRunner().invoke(
            group,
            ["venv", host, "--venv", "nova", *options, *words, "--json"],
            obj=Output(),
            prog_name="bundle-install",
        )

    def done(self, *words: str) -> dict[str, Any]:
        """Return what the one venv of the one host has become."""
        found = self.run(*words)
        assert found.exit_code == 0, found.output
        (host,) = json.loads(found.stdout)["hosts"]
        (one,) = host["venvs"]
        return dict(one)

    def refused(self, *words: str) -> Exception:
        found = self.run(*words)
        assert isinstance(found.exception, Exception), found.output
        return found.exception

    @property
    def active(self) -> str:
        return str((self.venvs / "nova").readlink())


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def command(tmp_path: Path, keys: Keys, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return the command of a site that went from release 1 to release 2; the installer is the one under test."""
    home = tmp_path / "opt"
    monkeypatch.setattr(workflow, "HOME", PurePosixPath(home))
    installer = tmp_path / "installer"
    installer.write_text(f'#!/bin/sh\nexec "{BIN}/bundle-install" "$@"\n')
    scene = Scene(tmp_path, keys, installer)
    service = {"name": "far", "address": "127.0.0.1", "port": sshd.port, "user": sshd.user, "target": DEBIAN}
    ssh = {
        "identity": str(sshd.identity),
        "agent": False,
        "known_hosts": str(sshd.known_hosts),
        "connect_timeout": 20,
    }
    scene.site(scene.local("repo1"), service_hosts=[service], ssh=ssh)
    for number in (1, 2):
        scene.apply(scene.bundle(number, with_venv(number))).require_success()
    return Command(scene, tmp_path / "venvs", home)


def test_venvs_come_from_the_release_that_is_served(command: Command) -> None:
    """Not the newest that was applied: after a rollback of the repo hosts it is the older one, until one is named."""
    assert command.done()["path"].endswith("nova-2")
    rollback(RollbackRequest(places=command.scene.places)).require_success()

    assert command.done()["path"].endswith("nova-1")
    assert command.done("--release", LINE)["path"].endswith("nova-1")
    assert command.done("--release", f"{LINE}-2")["path"].endswith("nova-2")
    assert "no repo host serves a line" in str(command.refused("--release", "other-1"))
    assert command.active == "nova-2"
    assert (command.venvs / "nova" / "lib/py/site-packages/number.py").read_text() == "2\n"


def test_going_back_twice_goes_back_once(command: Command) -> None:
    """The second rollback changes nothing and says so; --to goes further, and the log has it all."""
    for number in (1, 2):
        command.done("--release", f"{LINE}-{number}")
    first, second = command.done("--rollback"), command.done("--rollback")

    assert (first["changed"], second["changed"], command.active) == (True, False, "nova-1")
    assert command.done("--rollback", "--to", "nova-2")["changed"]
    assert command.active == "nova-2"
    assert "has no venv 'nova-7'" in str(command.refused("--rollback", "--to", "nova-7"))
    assert command.scene.places.log.read_text().count("venv rolled back") == 3


@pytest.mark.parametrize("kind", ["bundles", "signers"])
def test_what_is_distrusted_is_not_installed(command: Command, kind: str) -> None:
    """Neither as the active release nor by name; and no venv of it is gone back to."""
    command.done("--release", f"{LINE}-2")
    command.done("--release", f"{LINE}-1")
    kept = command.scene.places.releases
    digests = {
        number: hashlib.sha256((kept / f"{LINE}-{number}" / SUMS).read_bytes()).hexdigest() for number in (1, 2)
    }
    TrustStore(command.scene.places).add_distrust(
        Distrust(bundles=(digests[2],)) if kind == "bundles" else Distrust(signers=("alice",))
    )

    rule = BundleRevoked if kind == "bundles" else TrustRefused
    assert isinstance(command.refused(), rule)
    assert isinstance(command.refused("--release", f"{LINE}-2"), rule)
    assert "no longer trusted" in str(command.refused("--rollback"))
    assert "no longer trusted" in str(command.refused("--rollback", "--to", "nova-2"))
    assert command.active == "nova-1"


def test_one_host_that_fails_does_not_hold_up_another(command: Command) -> None:
    """A host that is away is named; the other has its venv; the exit status says that not all is well."""
    found = command.run(host="nobody@127.0.0.2")
    assert found.exit_code != 0
    assert command.done()["changed"]


@pytest.mark.parametrize("words", [(), ("--copy",)], ids=["shared", "copied"])
def test_a_dry_run_says_what_the_run_does(command: Command, words: tuple[str, ...]) -> None:
    """Before each run it gives the same answer; nothing is there afterwards that was not there before."""
    facts = command.venvs.parent / "x.fact"
    for options in (
        ("--release", f"{LINE}-1"),
        (),
        (),
        ("--rollback",),
        ("--rollback",),
        ("--rollback", "--to", "nova-2"),
    ):
        given = (*options, *(() if "--rollback" in options else words), "--fact", f"{facts}:nova:how={options}")
        before = _everything(command)
        foretold = command.done(*given, "--dry-run")
        assert _everything(command) == before
        done = command.done(*given)

        assert foretold == {key: done[key] for key in foretold}, options


def test_a_dry_run_refuses_what_the_run_refuses(command: Command) -> None:
    """No venv to go back to is an error before anything is done, too."""
    assert "is no link to a venv of ours" in str(command.refused("--rollback", "--dry-run"))
    command.done()
    assert "there is no venv before nova-2" in str(command.refused("--rollback", "--dry-run"))


def _everything(command: Command) -> dict[str, tuple[int, int]]:
    """Return all files below the service host's directories and the site's state, with size and time."""
    places = (command.venvs, command.home, command.scene.places.state)
    return {str(path): _stamp(path) for place in places for path in place.rglob("*") if path.name != "lock"}


def _stamp(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_size, status.st_mtime_ns


@dataclass
class Cut:
    """A transport whose connection breaks after so many bytes of a large file, each time anew while some are left."""

    inner: Transport
    cuts: list[int]
    sent: list[int]

    @property
    def label(self) -> str:
        return self.inner.label

    def open(self, argv: Sequence[str]) -> Channel:
        channel = self.inner.open(argv)
        return _CutChannel(channel, self) if "head -c" in argv[2] else channel

    def close(self) -> None:
        self.inner.close()


@dataclass
class _CutChannel:
    inner: Channel
    transport: Cut
    count: int = 0

    def send(self, data: bytes) -> None:
        cuts = self.transport.cuts
        if len(data) < 10_000 or not cuts:
            self.transport.sent.append(len(data))
            self.inner.send(data)
            return
        self.inner.send(data[: cuts[0]])
        self.transport.sent.append(cuts.pop(0))
        self.inner.end()
        self.inner.finish()
        self.transport.close()
        raise TransferFailed(f"{self.transport.label}: the connection was cut")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_an_archive_that_was_cut_off_is_gone_on_with(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each cut only the rest is sent, more often than the site's tries, and what arrives is what was signed."""
    cuts, sent = [10_000] * 7, list[int]()

    def cutting(endpoint: Endpoint, transport: TransportName, ssh: Ssh, limiter: Limiter) -> Transport:
        return Cut(connect(endpoint, transport, ssh, limiter), cuts, sent)

    monkeypatch.setattr(venv_session, "connect", cutting)
    monkeypatch.setattr(venv_session, "delays", lambda _retries, _random: (0.0,) * 2)
    done = command.done()

    (archive,) = (file for file in with_venv(2).files if file.path.endswith("nova-2.tar.zst"))
    assert (done["changed"], cuts) == (True, [])
    assert sum(sent) < archive.size + 20_000
    assert not list(command.home.rglob("*.partial"))
    assert not list(command.home.rglob("*.tar.zst"))


def test_what_arrives_damaged_is_not_kept(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partial file of other bytes ends as an error, and the next run begins anew; old leftovers go."""
    (archive,) = (file for file in _files(command) if file["path"].endswith("nova-2.tar.zst"))
    incoming = command.home / "incoming" / "nova"
    place = incoming / archive["sha256"]
    place.mkdir(parents=True)
    (place / "nova-2.tar.zst.partial").write_bytes(b"x" * 5000)
    (incoming / "older").mkdir()

    assert "arrived damaged" in str(command.refused())
    assert not command.venvs.exists()
    assert command.done()["changed"]
    assert not (incoming / "older").exists()


def _files(command: Command) -> list[dict[str, Any]]:
    document = json.loads((command.scene.places.releases / f"{LINE}-2" / "bundle.json").read_text())
    return list(document["files"])

"""Applying over real SSH servers: pinned keys, cuts, separate logins, dead and slow hosts."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bundler.deploy.trust_store import TrustStore
from bundler.errors import FleetStopped, HostRefused, PartlyApplied, PlanRefused, SignatureRefused
from bundler.model.trust import Distrust
from bundler.repohost.script import short_text
from bundler.workflows.receipt import ReceiptCheck, check_receipt
from bundler.workflows.site.receipt import ReceiptRequest, write_receipt
from tests.bundles import Sample, make_sample
from tests.deploy.scene import GROUP, LINE, USER, Scene, Wires, states
from tests.sshd import ADDRESS, Login, Sshd, make_key, public

pytestmark = pytest.mark.sshd


class Servers:
    """SSH servers that all take one key."""

    def __init__(self, scene: Scene, stack: ExitStack) -> None:
        self.scene = scene
        self._stack = stack
        self.identity = make_key(scene.base / "id")
        self.known_hosts = scene.base / "known_hosts"
        self.known_hosts.write_text("")

    def start(self, name: str, **options: Any) -> Sshd:
        directory = self.scene.base / "sshd" / name
        directory.mkdir(parents=True)
        for suffix in ("", ".pub"):
            shutil.copy2(f"{self.identity}{suffix}", directory / f"id{suffix}")
        sshd = self._stack.enter_context(Sshd(directory, **options))
        with self.known_hosts.open("a") as file:
            file.write(f"{sshd.host_key_line}\n")
        return sshd

    def host(self, name: str, sshd: Sshd, **changes: Any) -> dict[str, Any]:
        root = self.scene.root(name)
        root.mkdir(parents=True, exist_ok=True)
        place = {"address": ADDRESS, "port": sshd.port, "root": str(root)}
        return {"name": name, **place, "owner": USER, "group": GROUP, **changes}

    def site(self, *hosts: dict[str, Any], **rest: Any) -> None:
        ssh = {"user": USER, "identity": str(self.identity), "known_hosts": str(self.known_hosts), "agent": False}
        self.scene.site(*hosts, ssh={**ssh, "connect_timeout": 5}, **rest)


@pytest.fixture
def servers(scene: Scene) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(scene, stack)


def large_sample(seed: int = 1) -> Sample:
    """Return a sample with a file of some megabytes that do not compress."""
    sample = make_sample(seed)
    noise = hashlib.shake_256(b"large").digest(6_000_000)
    sample.file("constraints/large.txt", [noise], *sample.files[-1].targets)
    return sample


@pytest.mark.slow
def test_three_hosts_serve_a_release(scene: Scene, servers: Servers, wires: Wires) -> None:
    """A bundle reaches three servers; the second time next to nothing is sent."""
    sample = make_sample(1)
    bundle = scene.bundle(1, sample)
    servers.site(*(servers.host(name, servers.start(name)) for name in "abc"))

    applied = scene.apply(bundle)
    wires.sent.clear()
    again = scene.apply(bundle)

    assert states(applied) == dict.fromkeys("abc", "activated")
    assert states(again) == dict.fromkeys("abc", "up to date")
    assert all(scene.serves(name, sample) for name in "abc")
    assert max(wires.sent.values()) < 100_000


def test_an_unknown_host_key_stops_all(scene: Scene, servers: Servers) -> None:
    """A host whose key nobody pinned is a problem of the plan: no host is touched."""
    bundle = scene.bundle(1)
    known = servers.host("known", servers.start("known"))
    unknown = servers.host("unknown", servers.start("unknown"))
    servers.known_hosts.write_text(servers.known_hosts.read_text().splitlines()[0] + "\n")
    servers.site(known, unknown, gates={"max_failed": 1})

    with pytest.raises(PlanRefused) as refused:
        scene.apply(bundle)

    assert {problem.where for problem in refused.value.problems} == {"unknown"}
    assert list(scene.root("known").iterdir()) == []


@pytest.mark.slow
def test_killed_sessions_resume_where_they_were(scene: Scene, servers: Servers, wires: Wires) -> None:
    """The sessions of a server are killed twice in mid-transfer: the push goes on, and little is sent twice."""
    sample = large_sample()
    bundle = scene.bundle(1, sample)
    sshd = servers.start("a")
    servers.site(servers.host("a", sshd), limits={"bandwidth": "4M"})
    marks = [2_000_000, 4_000_000]

    def watch(host: str, _data: bytes) -> None:
        if marks and wires.sent[host] > marks[0]:
            marks.pop(0)
            threading.Thread(target=sshd.cut).start()

    wires.watch = watch
    applied = scene.apply(bundle)

    assert states(applied) == {"a": "activated"}
    assert marks == []
    assert scene.serves("a", sample)
    assert wires.sent["a"] < 9_500_000


@dataclass
class Hands:
    """A host with a login that pushes and one that admits."""

    scene: Scene
    servers: Servers

    def host(self) -> dict[str, Any]:
        """Start it and return how ``site.yaml`` names it. One person of this machine plays both by two keys."""
        self.program.write_text(short_text())
        command = f"sh {self.program} {self.scene.root('a')} {USER} {GROUP} admit"
        sshd = self.servers.start("a", logins=[Login(name="admit", command=command)])
        admit = {"user": "bundle-admit", "identity": str(sshd.key("admit")), "command": command}
        return self.servers.host("a", sshd, admit=admit)

    @property
    def program(self) -> Path:
        return self.scene.base / "bundle-repo"

    def trust(self) -> None:
        """Do what the administrator does by hand."""
        document = self.scene.places.trust / "trust-0001"
        digest = hashlib.sha256((document / "SHA256SUMS").read_bytes()).hexdigest()
        subprocess.run(["sh", self.program, "trust-init", self.scene.root("a"), document, digest], check=True)


@pytest.fixture
def hands(scene: Scene, servers: Servers, wires: Wires) -> Hands:
    wires.user = USER
    return Hands(scene, servers)


def test_the_pushing_login_cannot_activate(scene: Scene, servers: Servers, hands: Hands) -> None:
    """With a login of its own that checks and activates, apply uses both; trust was put there by hand."""
    sample = make_sample(1)
    bundle = scene.bundle(1, sample)
    servers.site(hands.host())

    with pytest.raises(PlanRefused, match="1 of 1"):
        scene.apply(bundle)
    hands.trust()
    # Only the admitting login judges, so it alone is told whom to trust less.
    TrustStore(scene.places).add_distrust(Distrust(bundles=("a" * 64,)))
    applied = scene.apply(bundle)

    assert states(applied) == {"a": "activated"}
    assert scene.serves("a", sample)


@pytest.mark.slow
def test_twenty_hosts_of_which_two_are_dead_and_one_is_slow(scene: Scene, servers: Servers) -> None:
    """The rest end proved and, where two may fail, active; the summary says which did not and why."""
    sample = make_sample(1)
    bundle = scene.bundle(1, sample)
    names = [f"h{number:02d}" for number in range(20)]
    started = {name: servers.start(name, rate=30_000 if name == "h05" else 0) for name in names}
    hosts = [servers.host(name, sshd) for name, sshd in started.items()]
    servers.site(*hosts)
    for name in ("h03", "h17"):
        started[name].stop()

    stopped = scene.apply(bundle)

    assert {name for name, state in states(stopped).items() if state != "proved"} == {"h03", "h17"}
    with pytest.raises(FleetStopped) as failed:
        stopped.require_success()
    assert [problem.where for problem in failed.value.problems] == ["h03", "h17"]
    servers.site(*hosts, gates={"max_failed": 2})

    partly = scene.apply(bundle)

    assert {one.sent for one in partly.outcomes} == {0}
    assert {name for name, state in states(partly).items() if state == "activated"} == {*names} - {"h03", "h17"}
    with pytest.raises(PartlyApplied):
        partly.require_success()


@pytest.mark.slow
def test_a_slow_host_holds_nobody_up(scene: Scene, servers: Servers) -> None:
    """While one host is still being sent to, the others have it proved."""
    bundle = scene.bundle(1, make_sample(1))
    servers.site(
        servers.host("slow", servers.start("slow", rate=40_000)), servers.host("quick", servers.start("quick"))
    )
    ended: list[str] = []

    def emit(event: Any) -> None:
        if type(event).__name__ == "ItemFinished" and event.stage == "push":
            ended.append(event.item)

    scene.apply(bundle, emit)

    assert ended == ["quick", "slow"]


@contextlib.contextmanager
def tmpfs(path: Path, size: str) -> Iterator[None]:
    path.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=False)
    if made.returncode:
        pytest.skip("needs to mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "fits"), [("70M", False), ("104M", True)])
def test_separate_logins_need_room_for_two_copies(
    scene: Scene, servers: Servers, hands: Hands, size: str, *, fits: bool
) -> None:
    """What one login pushed the other copies: a disk that holds it only once is refused before, twice is enough."""
    sample = make_sample(1)
    sample.file("constraints/large.txt", [hashlib.shake_256(b"large").digest(40 << 20)], *sample.files[-1].targets)
    bundle = scene.bundle(1, sample)
    with tmpfs(scene.root("a"), size):
        servers.site(hands.host())
        hands.trust()
        planned = scene.plan(bundle)

        if fits:
            assert planned.problems == ()
            assert states(scene.apply(bundle)) == {"a": "activated"}
            assert scene.serves("a", sample)
        else:
            assert "no space" in planned.problems[0].what
            assert planned.hosts[0].needed > 2 * planned.hosts[0].send


@pytest.mark.slow
def test_a_cut_push_of_separate_logins_still_needs_its_copy(
    scene: Scene, servers: Servers, hands: Hands, wires: Wires
) -> None:
    """Blobs that lie in the inbox are not sent again, and are counted: they are still to be copied."""
    bundle = scene.bundle(1)
    servers.site(hands.host(), limits={"retries": 1})
    hands.trust()
    whole = scene.plan(bundle).hosts[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bundler.repohost.intake.admit", _refuse)
        scene.apply(bundle)

    pushed = scene.plan(bundle).hosts[0]

    assert (pushed.send, pushed.missing) == (0, 0)
    assert pushed.copied == whole.copied == whole.missing
    assert pushed.needed >= whole.send
    assert states(scene.apply(bundle)) == {"a": "activated"}


def _refuse(*_: object) -> None:
    raise HostRefused("not now")


@pytest.mark.slow
def test_hosts_sign_what_they_have_with_their_own_keys(scene: Scene, servers: Servers) -> None:
    """A receipt holds what each host says, checked by its pinned key; one signed with another key is left out."""
    bundle = scene.bundle(1)
    sshds = {name: servers.start(name) for name in "ab"}
    servers.site(*(servers.host(name, sshd) for name, sshd in sshds.items()))
    scene.apply(bundle).require_success()
    key = scene.base / "host_key"
    shutil.copy2(sshds["a"].host_key, key)
    own = make_key(scene.base / "own")
    request = ReceiptRequest(places=scene.places, key=own, ask=True, host_key=str(key))

    written = write_receipt(request)

    assert [one.name for one in written.receipt.signed] == ["a"]
    assert written.receipt.signed[0].releases == ((f"{LINE}-1", "active"),)
    with pytest.raises(SignatureRefused, match="b: its receipt is not signed with a key that is pinned"):
        written.require_all()
    known = scene.base / "known"
    known.write_text(f"deploy {public(own)}\n{sshds['a'].host_key_line}\n")
    checked = check_receipt(ReceiptCheck(receipt=written.files[0], known_hosts=known))
    assert checked.hosts == {"a": f"[{ADDRESS}]:{sshds['a'].port}"}
    known.write_text(f"deploy {public(own)}\n")
    assert check_receipt(ReceiptCheck(receipt=written.files[0], known_hosts=known)).hosts == {"a": ""}


def test_a_host_without_space_stops_all(scene: Scene) -> None:
    """Too little room on one host is known before anything is sent."""
    bundle = scene.bundle(1)
    scene.site(scene.local("a"), scene.local("full"))

    with tmpfs(scene.root("full"), "64k"), pytest.raises(PlanRefused) as refused:
        scene.apply(bundle)

    assert "no space" in refused.value.problems[0].what
    assert list(scene.root("a").iterdir()) == []

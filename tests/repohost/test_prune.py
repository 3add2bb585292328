"""Making room on a host."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.errors import HostRefused
from bundler.repohost.releases import activate, check, prune, prune_plan
from tests.repohost.handmade import Host, Made
from tests.repohost.killer import Fault, Killer, Trial, strike_each

INDEX, OTHER, ARCHIVE = "os-releases/33/t/index.html", "os-releases/33/t/other", "os-releases/33/t/nova.tar.zst"
RELEASES = [
    Made(f"os-33-{n}", {INDEX: b"%d" % n, ARCHIVE: b"xx%d" % n * 5000, OTHER: b"same"}, {"os-releases/33/l": "t"})
    for n in (1, 2, 3)
]
ONE, TWO, THREE = RELEASES


def fill(host: Host) -> Host:
    for release in RELEASES:
        host.add(release)
    with host.wire() as wire:
        for release in RELEASES:
            activate(wire, release.id)
    return host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return fill(Host(tmp_path / "a repo's root"))


def only(host: Host, made: Made) -> list[Path]:
    """Return blobs that only this release needs."""
    others = {data for one in RELEASES if one is not made for path in one.files for data in one.blobs_of(path)}
    return [host.blob(data) for path in made.files for data in made.blobs_of(path) if data not in others]


@pytest.mark.parametrize("stays", [TWO, THREE], ids=["previous", "active"])
def test_what_is_served_stays(host: Host, stays: Made) -> None:
    """The active and the previous release are never pruned, and nothing else goes when one of them is asked for."""
    with host.wire() as wire, pytest.raises(HostRefused, match="stays"):
        prune(wire, [ONE.id, stays.id])

    assert host.tree(ONE.id).is_dir()


def test_blobs_go_that_no_release_needs(host: Host) -> None:
    """With a release go the blobs that only it needed; all others, and all that is served, stay."""
    before = host.served()
    gone = only(host, ONE)

    with host.wire() as wire:
        prune(wire, [ONE.id])
        assert (check(wire), check(wire, TWO.id), check(wire, THREE.id)) == ((), (), ())

    assert host.served() == before
    assert gone
    assert not any(blob.exists() for blob in gone)
    assert host.blob(b"same").exists()
    assert [path.name for path in (host.home / "views").iterdir()] == ["3"]


def test_plan_is_what_happens(host: Host) -> None:
    """The plan names releases and bytes, changes nothing, and is what prune then gives back."""
    before = subprocess.check_output(["du", "-s", "-B1", host.home])
    with host.wire() as wire:
        plan = prune_plan(wire, [ONE.id])
        assert subprocess.check_output(["du", "-s", "-B1", host.home]) == before
        freed = prune(wire, [ONE.id])
        after = subprocess.check_output(["du", "-s", "-B1", host.home])

        assert prune_plan(wire, [ONE.id]).size == 0
    assert (plan.releases, plan.blobs, plan.size) == ((ONE.id,), len(only(host, ONE)), freed)
    assert int(before.split()[0]) - int(after.split()[0]) == freed


def test_old_cut_pushes_go_new_ones_stay_with_their_blobs(host: Host) -> None:
    """A push cut long ago is dropped, one cut just now is kept, and so are blobs that it has sent."""
    data = {"old-1-1": b"old", "new-1-1": b"new"}
    for name, blob in data.items():
        signed = host.home / "inbox" / name / "signed"
        signed.mkdir(parents=True)
        file = host.put_blob(blob)
        (signed / "blobs-t.sha256").write_text(f"{file.name}  blobs/{file.name}\n")
    for path in (host.home / "inbox" / "old-1-1", host.home / "inbox" / "old-1-1" / "signed"):
        os.utime(path, (1, 1))

    with host.wire() as wire:
        plan = prune_plan(wire, [])
        prune(wire, [])

    assert (plan.pushes, plan.blobs) == (("old-1-1",), 1)
    assert [path.name for path in (host.home / "inbox").iterdir()] == ["new-1-1"]
    assert (host.blob(b"old").exists(), host.blob(b"new").exists()) == (False, True)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "amid", "fail"])
def test_a_prune_that_dies_is_done_again(tmp_path: Path, fault: Fault) -> None:
    """Struck at any command, a prune has taken nothing that is needed, and a rerun finishes it."""
    killer = Killer(tmp_path / "killer")
    hosts: list[Host] = []
    struck: list[str] = []

    def prepare() -> None:
        hosts.append(fill(Host(tmp_path / f"host{len(hosts)}")))

    def act() -> None:
        with hosts[-1].wire({"PATH": str(killer.path)}) as wire:
            prune(wire, [ONE.id])

    def judge(hit: str) -> None:
        host = hosts[-1]
        assert host.served()[INDEX] == b"3", hit
        with host.wire() as wire:
            assert (check(wire), check(wire, TWO.id)) == ((), ()), hit
        act()
        assert not any(blob.exists() for blob in only(host, ONE)), hit
        assert not host.tree(ONE.id).exists(), hit
        assert host.leftovers() == [], hit
        struck.append(hit)

    strike_each(killer, Trial(prepare=prepare, act=act, judge=judge), fault)

    assert len(struck) > 5


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", path], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("needs to mount a small file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_full_disk_is_no_obstacle(small_disk: Path) -> None:
    """With not one byte left on the disk, and nowhere to put temporary files, prune makes room."""
    host = fill(Host(small_disk / "root"))
    with (small_disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(small_disk).free == 0

    with host.wire({**os.environ, "TMPDIR": str(small_disk)}) as wire:
        freed = prune(wire, [ONE.id])

    assert freed > 10_000
    assert not host.tree(ONE.id).exists()

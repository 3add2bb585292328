"""Venvs on a service host: the same as a plain tar, shared files, switching, keeping and going back."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from bundler.deploy.places import Places
from bundler.deploy.state import hold
from bundler.deploy.venv_switch import GoBack, go_back
from bundler.errors import BundleRevoked, Busy, SpaceError, UnpackFailed
from tests.unpack.conftest import SHARED, SITE, Host, layer, own_frame, tree

OWN = layer({"only/__init__.py": "y = 2\n"})
DATA = f"{SITE}/shared/deep/data.txt"


@pytest.mark.parametrize("copy", [False, True])
def test_the_venv_is_what_tar_makes(host: Host, copy: bool) -> None:
    """Paths, content, modes and links are those of tar --zstd -xf; a copy has the write bits too."""
    done = host.put("nova-1", SHARED, OWN, copy=copy)
    plain = host.plain("nova-1")

    assert tree(done.path) == tree(plain)
    assert ((done.path / DATA).stat().st_mode == (plain / DATA).stat().st_mode) == copy


def test_venvs_share_the_files_of_a_layer(host: Host) -> None:
    """One inode serves both, the own frame's files are apart, and removing one venv leaves the other whole."""
    one, two = host.put("nova-1", SHARED, OWN), host.put("glance-1", SHARED, own=own_frame("glance"))
    assert (one.path / DATA).stat().st_ino == (two.path / DATA).stat().st_ino
    assert (one.path / DATA).stat().st_nlink == 2
    assert (one.path / "pyvenv.cfg").stat().st_nlink == 1
    assert (one.reused, two.reused) == (0, 1)

    shutil.rmtree(one.path)

    assert (two.path / DATA).read_text() == "data" * 999


def test_a_layer_that_somebody_edited_is_unpacked_anew(host: Host) -> None:
    """An edit in one venv does not come into the next one."""
    one = host.put("nova-1", SHARED)
    (one.path / DATA).chmod(0o644)
    (one.path / DATA).write_text("edited")

    two = host.put("nova-2", SHARED)

    assert (two.path / DATA).read_text() == "data" * 999


def test_what_is_there_is_not_touched(host: Host) -> None:
    """A second run changes nothing, not even a time."""
    done = host.put("nova-1", SHARED)
    before = done.path.stat()

    again = host.put("nova-1", SHARED)

    assert (again.changed, again.path.stat().st_mtime_ns) == (False, before.st_mtime_ns)
    assert again.path.stat().st_ino == before.st_ino


def test_another_archive_of_that_name_takes_the_place(host: Host) -> None:
    """A venv that was built anew under the same name replaces the one that was there."""
    host.put("nova-1", SHARED)

    done = host.put("nova-1", OWN)

    assert done.changed
    assert tree(done.path) == tree(host.plain("nova-1"))


def test_the_link_follows_and_goes_back(host: Host) -> None:
    """The link points to the newest; a rollback to the one before; forward again, a rollback works anew."""
    host.put("nova-1", SHARED)
    host.put("nova-2", SHARED, OWN)
    assert (host.venvs / "nova").readlink() == Path("nova-2")

    assert go_back(host.venvs, GoBack(link="nova")) == (host.venvs / "nova-1", True)
    assert (host.venvs / "nova").readlink() == Path("nova-1")

    host.put("nova-2", SHARED, OWN)
    assert go_back(host.venvs, GoBack(link="nova")) == (host.venvs / "nova-1", True)


def test_going_back_again_goes_no_further(host: Host) -> None:
    """A rollback that is repeated stays where it is; the one before has to be named, and is gone to once, too."""
    for number in (1, 2, 3):
        host.put(f"nova-{number}", SHARED)

    moves = [go_back(host.venvs, GoBack(link="nova")) for _ in range(2)]
    named = [go_back(host.venvs, GoBack(link="nova", to="nova-1")) for _ in range(2)]
    last = go_back(host.venvs, GoBack(link="nova"))

    assert moves == [(host.venvs / "nova-2", True), (host.venvs / "nova-2", False)]
    assert named == [(host.venvs / "nova-1", True), (host.venvs / "nova-1", False)]
    assert last == (host.venvs / "nova-1", False)


def test_there_may_be_nothing_to_go_back_to(host: Host) -> None:
    """No older venv, another service's, none of that name, and no link at all are told apart; nothing is switched."""
    host.put("nova-1", SHARED)
    host.put("glance-1", SHARED, own=own_frame("glance"))

    for back, message in (
        (GoBack(link="nova"), "no venv before nova-1"),
        (GoBack(link="nova", to="glance-1"), "has no venv 'glance-1'"),
        (GoBack(link="nova", to="../nova-1"), "has no venv"),
        (GoBack(link="heat"), "is no link"),
    ):
        with pytest.raises(UnpackFailed, match=message):
            go_back(host.venvs, back)
    assert (host.venvs / "nova").readlink() == Path("nova-1")


def test_what_is_refused_is_not_gone_back_to(host: Host) -> None:
    """The venv of a revoked bundle stays out of use, whether it is the one before or named."""
    host.put("nova-1", SHARED)
    host.put("nova-2", SHARED, OWN)
    refused = frozenset({(host.archives / "nova-1.tar.zst.sha256").read_text()[:64]})

    for to in ("", "nova-1"):
        with pytest.raises(BundleRevoked, match="nova-1"):
            go_back(host.venvs, GoBack(link="nova", to=to, refused=refused))
    assert (host.venvs / "nova").readlink() == Path("nova-2")


def test_old_venvs_go(host: Host) -> None:
    """As many as asked for stay, and other venvs."""
    host.put("glance-1", SHARED, own=own_frame("glance"))
    for number in range(1, 5):
        done = host.put(f"nova-{number}", SHARED, layer({"n.py": str(number)}), keep=1)

    names = {path.name for path in host.venvs.iterdir() if not path.name.startswith(".")}
    assert names == {"glance-1", "glance", "nova", "nova-3", "nova-4"}
    assert done.removed == ("nova-2",)


def test_a_python_that_is_not_here_is_named(host: Host) -> None:
    """An archive for another Python is refused before anything is written; the hint says what to install."""
    with pytest.raises(UnpackFailed, match=r"wants Python 3\.7") as caught:
        host.put("nova-1", SHARED, own=own_frame(version="3.7"))

    assert "apt-get install python3.7" in caught.value.hint
    assert not (host.venvs / "nova-1").exists()


def test_what_is_not_ours_is_not_replaced(host: Host) -> None:
    """A directory without our record, and one where the link would be, stay as they are."""
    (host.venvs / "nova-1").mkdir(parents=True)
    (host.venvs / "glance").mkdir()

    with pytest.raises(UnpackFailed, match="none of our venvs"):
        host.put("nova-1", SHARED)
    with pytest.raises(UnpackFailed, match="directory of its own"):
        host.put("glance-1", SHARED, own=own_frame("glance"))


def test_a_full_disk_leaves_the_old(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room the old venv stays in use and nothing unfinished lies about."""
    host.put("nova-1", SHARED)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", full)
        with pytest.raises(SpaceError):
            host.put("nova-2", SHARED, OWN)

    assert (host.venvs / "nova").readlink() == Path("nova-1")
    assert not list(host.venvs.glob("**/.partial-*"))
    assert host.put("nova-2", SHARED, OWN).changed


def test_two_runs_do_not_meet(host: Host) -> None:
    """A second run into the same directory is told who holds it."""
    with hold(Places(state=host.venvs / ".bundle-install")), pytest.raises(Busy):
        host.put("nova-1", SHARED)


def test_the_record_says_what_it_is(host: Host) -> None:
    """Archive and layers are recorded by digest."""
    done = host.put("nova-1", SHARED, OWN)
    record = json.loads((done.path / ".bundle-venv.json").read_text())

    assert record["archive"] == (host.archives / "nova-1.tar.zst.sha256").read_text()[:64]
    assert len(record["layers"]) == 2

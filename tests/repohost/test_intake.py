"""Sending blobs: resume by offset, damage on the way, cut streams, and who may be at work."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from bundler.archive.tar import END, TarEntry, file_of, segment
from bundler.errors import BundlerError, Busy, FormatError, HostRefused
from bundler.repohost import intake
from bundler.repohost.intake import OutgoingBlob, blobs, look, send_blobs, send_signed
from tests.bundles import digest_of
from tests.repohost.killer import Killer, Trial, strike_each
from tests.repohost.pushing import bare, wired

ID = "demo-2026.1-7"
BINARY = bytes(range(256)) * 300


def outgoing(data: bytes, offset: int = 0, sent: bytes | None = None) -> OutgoingBlob:
    pieces = [data[offset:] if sent is None else sent]
    return OutgoingBlob(digest=digest_of(data), size=len(data), offset=offset, pieces=pieces)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_blobs_arrive_whatever_bytes_they_have(tmp_path: Path, root: Path, shell: str) -> None:
    """Empty blobs, NUL bytes, missing line ends: all are there as they were sent."""
    data = [b"", b"\n", b"no end", b"\0\n\0", BINARY]

    with wired(root, env=bare(tmp_path / "tools", shell)) as wire:
        send_blobs(wire, ID, [outgoing(one) for one in data])
        there = blobs(wire)

    assert dict(there.complete) == {digest_of(one): len(one) for one in data}
    assert dict(there.partial) == {}


def test_more_blobs_than_one_request_takes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blobs go in several requests."""
    monkeypatch.setattr(intake, "BATCH_BLOBS", 3)
    data = [b"%d" % number for number in range(8)]

    with wired(root) as wire:
        send_blobs(wire, ID, [outgoing(one) for one in data])
        assert len(blobs(wire).complete) == 8


@pytest.mark.parametrize("openssl", [True, False])
def test_what_came_is_judged_while_more_comes(tmp_path: Path, root: Path, *, openssl: bool) -> None:
    """Of a long transfer that is cut, what was judged is kept and nothing that arrived is sent again."""
    data = [b"%d" % number for number in range(560)]
    env = None if openssl else bare(tmp_path / "tools")
    with wired(root, env=env) as wire:
        wire.begin("receive", ID, "600")
        wire.send(b"".join(f"{digest_of(one)} {len(one)} 0\n".encode() + one for one in data))
        wire.close()
    with wired(root, env=env) as wire:
        there = blobs(wire)
        before = wire.sent
        send_blobs(
            wire,
            ID,
            [outgoing(one, len(one)) for one in data if digest_of(one) in there.partial] + [outgoing(b"last")],
        )
        rest = wire.sent - before
        whole = blobs(wire)

    assert len(there.complete) == 256
    assert len(there.partial) == 560 - 256
    assert rest < (560 - 256) * 75
    assert sorted(whole.complete) == sorted(map(digest_of, [*data, b"last"]))


def test_damaged_blobs_of_every_part_are_named(root: Path) -> None:
    """However many blobs come between them, each that is not what it is called goes, and no other."""
    data = [b"%d" % number for number in range(600)]
    bad = (data[0], data[400], data[-1])
    with wired(root) as wire:
        with pytest.raises(HostRefused, match=f"3 blobs arrived damaged, the first: {digest_of(bad[0])}"):
            send_blobs(wire, ID, [outgoing(one, sent=b"?" * len(one) if one in bad else None) for one in data])
        there = blobs(wire)

    assert sorted(there.complete) == sorted(digest_of(one) for one in data if one not in bad)
    assert there.partial == {}


def test_what_cannot_be_hashed_is_not_kept(tmp_path: Path, root: Path) -> None:
    """Where hashing fails the transfer fails; the next one, which sends nothing again, keeps what came."""
    env = bare(tmp_path / "tools")
    broken = tmp_path / "broken"
    shutil.copytree(env["PATH"], broken, symlinks=True)
    (broken / "sha256sum").unlink()
    (broken / "sha256sum").symlink_to(shutil.which("false") or "")

    with wired(root, env={"PATH": str(broken)}) as wire, pytest.raises(BundlerError, match="cannot be hashed"):
        send_blobs(wire, ID, [outgoing(BINARY)])
    with wired(root, env=env) as wire:
        there = blobs(wire)
        send_blobs(wire, ID, [outgoing(BINARY, len(BINARY))])
        whole = blobs(wire)

    assert (dict(there.complete), dict(there.partial)) == ({}, {digest_of(BINARY): len(BINARY)})
    assert dict(whole.complete) == {digest_of(BINARY): len(BINARY)}


@pytest.mark.parametrize("last", [True, False])
def test_a_cut_stream_goes_on_where_it_was_cut(root: Path, last: bool) -> None:
    """What came before a cut is kept, in its last blob too, and a batch without that blob leaves it alone."""
    other = b"another"
    with wired(root) as wire:
        wire.begin("receive", ID, "1" if last else "2")
        wire.send(f"{digest_of(BINARY)} {len(BINARY)} 0\n".encode() + BINARY[:5000])
        wire.close()
    with wired(root) as wire:
        there = blobs(wire)
        send_blobs(wire, ID, [outgoing(other)])
        offset = blobs(wire).partial[digest_of(BINARY)]
        send_blobs(wire, ID, [outgoing(BINARY, offset)])
        whole = blobs(wire)

    assert there.partial == {digest_of(BINARY): 5000}
    assert offset == 5000
    assert sorted(whole.complete) == sorted(map(digest_of, (other, BINARY)))


def archive_of(*members: tuple[str, bytes], link: str = "") -> bytes:
    """Return a tar archive of files, or of links to ``link``."""
    entries = [
        TarEntry(path=name, kind="link", target=link) if link else file_of(name, data) for name, data in members
    ]
    return b"".join(segment(entries)) + END


def test_small_blobs_go_together_where_there_is_tar(tmp_path: Path, root: Path) -> None:
    """Of two small blobs and a large one the small ones share an archive; a host without tar gets each by itself."""
    data = [b"one", bytes(9 << 20), b"two"]
    for place, env, tar in ((root, None, True), (tmp_path / "bare", bare(tmp_path / "tools"), False)):
        with wired(place, env=env) as wire:
            send_blobs(wire, ID, [outgoing(one) for one in data])
            there = blobs(wire)

            assert wire.tar is tar
            assert sorted(there.complete) == sorted(map(digest_of, data))


@pytest.mark.parametrize("kept", [100, 512 + 300, 2 * 512 + 400, -10])
def test_an_archive_that_was_cut_goes_on_where_it_was_cut(root: Path, kept: int) -> None:
    """What came whole, and of the last blob what came of it, need not be sent again."""
    data = [b"small", BINARY * 30]
    sent = archive_of(*((digest_of(one), one) for one in data))
    with wired(root) as wire:
        wire.begin("receive", ID, "2")
        wire.send(f"tar 2 {len(sent)}\n".encode() + sent[:kept])
        wire.close()
    with wired(root) as wire:
        there = blobs(wire)
        send_blobs(wire, ID, [outgoing(one, there.partial.get(digest_of(one), 0)) for one in data])
        whole = blobs(wire)

    assert there.complete == {}
    assert all(there.partial[digest_of(one)] <= len(one) for one in data if digest_of(one) in there.partial)
    assert sorted(whole.complete) == sorted(map(digest_of, data))


@pytest.mark.parametrize("name", ["../outside", "/outside", "new", "0" * 63, digest_of(b"x") + "/y"])
def test_an_archive_with_other_names_is_refused(root: Path, name: str) -> None:
    """The conversation ends; nothing came to lie outside of the push, which is cleared away with it."""
    sent = archive_of((name, b"x"))
    with wired(root) as wire:
        wire.begin("receive", ID, "1")
        wire.send(f"tar 1 {len(sent)}\n".encode() + sent)
        with pytest.raises(BundlerError, match=r"garbled|no room"):
            wire.reply()

    assert all(path.parent.name == "new" for path in root.parent.rglob("outside"))


def test_a_link_in_an_archive_is_no_blob(root: Path, tmp_path: Path) -> None:
    """A link that is called like a blob is not followed."""
    (tmp_path / "secret").write_bytes(b"secret")
    sent = archive_of((digest_of(b"secret"), b""), link=str(tmp_path / "secret"))
    with wired(root) as wire:
        wire.begin("receive", ID, "1")
        wire.send(f"tar 1 {len(sent)}\n".encode() + sent)
        with pytest.raises(HostRefused, match="garbled"):
            wire.reply()
    with wired(root) as wire:
        assert blobs(wire).complete == {}


@pytest.mark.parametrize("line", ["tar 1", "tar x 1024", "tar 3 1024", "tar 1 -1", "tar"])
def test_a_garbled_archive_line_is_refused(root: Path, line: str) -> None:
    """More blobs than were said, or no numbers: the conversation ends."""
    with wired(root) as wire:
        wire.begin("receive", ID, "2")
        wire.send(f"{line}\n".encode())
        with pytest.raises(HostRefused, match="garbled"):
            wire.reply()


def test_a_damaged_blob_is_named_and_the_others_are_kept(root: Path) -> None:
    """A blob that is not what it is called goes; what came with it stays."""
    good, bad = b"good", b"bad"
    with wired(root) as wire:
        with pytest.raises(HostRefused, match=f"1 blobs arrived damaged, the first: {digest_of(bad)}"):
            send_blobs(wire, ID, [outgoing(good), outgoing(bad, sent=b"BAD")])
        there = blobs(wire)

    assert sorted(there.complete) == [digest_of(good)]
    assert there.partial == {}


def test_a_blob_of_another_size_is_never_sent_on(root: Path) -> None:
    """A reader that gives too much is stopped here, before the stream is garbled."""
    with wired(root) as wire, pytest.raises(FormatError):
        send_blobs(wire, ID, [outgoing(b"four", sent=b"fives")])


@pytest.mark.parametrize("size", ["-5", "1e3", "9" * 17, ""])
def test_sizes_that_are_none(root: Path, size: str) -> None:
    """A host that is garbled about what it has is refused, before anything goes by what it said."""
    answer = f"sh -c 'echo bundle-repo 1; read x; echo \"=partial {digest_of(b'x')} {size}\"; echo ok'"

    with wired(root, command=answer) as wire, pytest.raises(HostRefused, match="garbled among the blobs"):
        blobs(wire)


@pytest.mark.parametrize(
    ("request_line", "stream"),
    [
        ("receive ../up 1", b""),
        ("receive demo 9999999", b""),
        ("receive demo 1", b"../../etc/passwd 1 0\nx"),
        ("receive demo 1", b"%s 1 2\nx" % (b"0" * 64)),
        ("signed demo 1", b"../up 1\nx"),
        ("trust ../1 1", b"x 1\nx"),
        ("admit", b""),
    ],
)
def test_garbled_requests_are_refused(root: Path, request_line: str, stream: bytes) -> None:
    """Nothing that a request says leads out of the inbox."""
    with wired(root) as wire:
        wire.begin(*request_line.split())
        wire.send(stream)
        with pytest.raises(BundlerError):
            wire.reply()

    assert not (root / ".bundles" / "up").exists()


def test_a_refused_transfer_ends_the_conversation(root: Path) -> None:
    """Megabytes that follow a refused request are not taken for requests: the far end hangs up and says why."""
    sleeper = subprocess.Popen(["sleep", "60"])
    lock = root / ".bundles" / "lock"
    lock.mkdir(parents=True)
    (lock / "owner").symlink_to(f"{socket.gethostname()} {sleeper.pid} 1")
    try:
        with wired(root) as wire, pytest.raises(Busy, match=f"process {sleeper.pid} on"):
            send_blobs(wire, ID, [outgoing(os.urandom(1) * (8 << 20))])
        with wired(root) as wire:
            assert f"process {sleeper.pid} on" in look(wire).holder
    finally:
        sleeper.kill()
        sleeper.wait()
    with wired(root) as wire:
        send_blobs(wire, ID, [outgoing(b"later")])
        assert look(wire).holder == ""

    assert not lock.exists()


def test_one_of_two_at_once_is_told_to_wait(root: Path) -> None:
    """While one conversation receives, another one changes nothing."""
    with wired(root) as first, wired(root) as second:
        first.begin("receive", ID, "1")
        deadline = time.monotonic() + 20
        while not (root / ".bundles" / "lock").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(Busy):
            send_signed(second, ID, {"SHA256SUMS": [b"x"]})
        first.send(f"{digest_of(b'x')} 1 0\nx".encode())
        assert first.reply() == []


def test_a_look_changes_nothing(root: Path) -> None:
    """Nothing is made on a host by looking; what is in the way is named."""
    (root / "os-releases").mkdir()

    with wired(root) as wire:
        facts = look(wire)

    assert facts.foreign == ("os-releases",)
    assert facts.writable
    assert facts.free > 0
    assert [path.name for path in root.iterdir()] == ["os-releases"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_anywhere_a_transfer_is_taken_up_again(tmp_path: Path) -> None:
    """Killed at any command, complete blobs are right and a rerun brings the rest."""
    killer = Killer(tmp_path / "killer")
    env = {"PATH": str(killer.path), "TMPDIR": str(tmp_path)}
    root, data = tmp_path / "root", [b"one", b"two" * 9000, b"three"]
    inbox = root / ".bundles" / "inbox" / ID

    def prepare() -> None:
        subprocess.run(["rm", "-rf", str(root)], check=True)
        root.mkdir()

    def act() -> None:
        with wired(root, env=env) as wire:
            there = blobs(wire)
            missing = [one for one in data if digest_of(one) not in there.complete]
            send_blobs(wire, ID, [outgoing(one, there.partial.get(digest_of(one), 0)) for one in missing])
            send_signed(wire, ID, {"SHA256SUMS": [b"sums"], "release.txt": [b"facts"]})

    def judge(_: str) -> None:
        for path in inbox.glob("blobs/*"):
            assert digest_of(path.read_bytes()) == path.name
        act()
        assert sorted(path.name for path in (inbox / "blobs").iterdir()) == sorted(map(digest_of, data))
        assert list((inbox / "new").iterdir()) == []
        assert sorted(path.name for path in inbox.iterdir()) == ["blobs", "new", "signed"]

    assert strike_each(killer, Trial(prepare=prepare, act=act, judge=judge), stride=2) > 8

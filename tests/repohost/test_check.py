"""What is on a host against what was signed, and mending it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.errors import HostRefused
from bundler.repohost.port import Difference
from bundler.repohost.releases import (
    activate,
    check,
    check_all,
    damaged_blobs,
    differences,
    fetch_blobs,
    host_receipt,
    restore,
)
from tests.repohost.handmade import TARGET, Host, Made, digest_of
from tests.repohost.killer import Fault, Killer, Trial, strike_each

BASE = "os-releases/33/debian-12-x86_64"
INDEX, WHEEL, ARCHIVE = f"{BASE}/wheels/index.html", f"{BASE}/wheels/a-1.whl", f"{BASE}/venvs/nova.tar.zst"
ONE = Made(
    "os-33-1",
    {INDEX: b"first", WHEEL: b"a", ARCHIVE: b"nova one", "constraints/upper_1.txt": b"a===1\n"},
    {"constraints/upper_cached.txt": "upper_1.txt"},
)
TWO = Made("os-33-2", {INDEX: b"second", ARCHIVE: b"nova two", "constraints/upper_1.txt": b"a===1\n"})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path / "a repo's root")
    made.add(ONE)
    made.add(TWO)
    with made.wire() as wire:
        activate(wire, ONE.id)
        activate(wire, TWO.id)
    return made


def replace(path: Path, data: bytes) -> None:
    """Write a new file in place of the old one, as most tools do."""
    path.unlink()
    path.write_bytes(data)


def test_what_was_signed_has_no_differences(host: Host) -> None:
    """After activation what is served, and the tree of either release, is exactly what was signed."""
    with host.wire() as wire:
        assert check(wire) == ()
        assert check(wire, ONE.id) == ()
        assert check(wire, TWO.id) == ()


def _link(root: Path) -> None:
    path = root / "constraints/upper_cached.txt"
    path.unlink()
    path.symlink_to("/etc/passwd")


def _folder(root: Path) -> None:
    (root / INDEX).unlink()
    (root / INDEX).mkdir()


def _append(root: Path) -> None:
    with (root / ARCHIVE).open("ab") as file:
        file.write(b"more")


def _pipe(root: Path) -> None:
    (root / INDEX).unlink()
    os.mkfifo(root / INDEX)


@pytest.mark.parametrize(
    ("harm", "kind", "path"),
    [
        (lambda root: replace(root / INDEX, b"sec0nd"), "changed", INDEX),
        (lambda root: replace(root / WHEEL, b"b"), "changed", WHEEL),
        (_append, "changed", ARCHIVE),
        (lambda root: (root / INDEX).unlink(), "removed", INDEX),
        (lambda root: (root / INDEX).chmod(0o666), "mode", INDEX),
        (lambda root: (root / BASE).chmod(0o777), "mode", BASE),
        (lambda root: (root / BASE / "wheels/new.whl").touch(), "added", f"{BASE}/wheels/new.whl"),
        (lambda root: (root / BASE / "wheels/-ä b\n\\x").touch(), "added", f"{BASE}/wheels/-ä b\n\\x"),
        (lambda root: (root / BASE / ".hidden").mkdir(), "added", f"{BASE}/.hidden"),
        (_link, "link", "constraints/upper_cached.txt"),
        (_folder, "changed", INDEX),
        (_pipe, "changed", INDEX),
    ],
    ids=lambda value: value if isinstance(value, str) and "/" not in value else None,
)
def test_each_difference_is_named(host: Host, harm: Callable[[Path], object], kind: str, path: str) -> None:
    """Every way to differ gives one difference of its kind with its path; nothing hangs on a pipe."""
    harm(host.root)

    with host.wire() as wire:
        found = check(wire)

    assert [(one.kind, one.path) for one in found] == [(kind, path)]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_another_owner_is_named(host: Host) -> None:
    """A file or link that belongs to somebody else is a difference."""
    os.chown(host.root / INDEX, 12345, 0)
    os.lchown(host.root / "constraints/upper_cached.txt", 0, 12345)

    with host.wire() as wire:
        found = check(wire)

    assert [(one.kind, one.path) for one in found] == [
        ("owner", "constraints/upper_cached.txt"),
        ("owner", INDEX),
    ]


def test_what_others_write_is_no_drift(host: Host) -> None:
    """Files that OpenStack-Ansible writes beside ours are none of our business; ours that it changed are."""
    (host.root / "constraints/own.txt").write_text("theirs")
    replace(host.root / "constraints/upper_1.txt", b"theirs")

    with host.wire() as wire:
        found = check(wire)

    assert [(one.kind, one.path) for one in found] == [("changed", "constraints/upper_1.txt")]


def _edit(path: Path) -> None:
    path.write_text(path.read_text().replace("a", "b", 1))


def _to_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("harm", [_edit, Path.unlink, _to_link])
@pytest.mark.parametrize("name", [f"files-{TARGET}.sha256", f"assemble-{TARGET}.tsv", "release.txt", "SHA256SUMS"])
def test_signed_tables_that_are_damaged_are_named(host: Host, name: str, harm: Callable[[Path], object]) -> None:
    """A host whose signed tables are not the signed ones any more says which, and compares nothing with them."""
    harm(host.home / "releases" / TWO.id / "signed" / name)
    (host.root / INDEX).unlink()

    with host.wire() as wire:
        found = check_all(wire)
        with pytest.raises(HostRefused, match="signed tables"):
            restore(wire, TWO.id)

    assert found.differences == ()
    assert found.signed[TWO.id].faults == (("changed" if harm is _edit else "removed", name),)
    assert found.signed[ONE.id].faults == ()


def test_a_sound_signed_part_is_vouched_for(host: Host) -> None:
    """Of what is served the digests of list and signatures are told, by which others can compare them."""
    with host.wire() as wire:
        found = check_all(wire).signed

    assert {name: (part.faults, part.status) for name, part in found.items()} == {TWO.id: ((), 0), ONE.id: ((), 0)}
    assert found[ONE.id].digests["SHA256SUMS"] == host.list_digest(ONE.id)
    assert set(found[ONE.id].digests) == {"SHA256SUMS", "SHA256SUMS.alice.sig"}


def test_releases_that_trust_refuses_by_now_are_named(host: Host) -> None:
    """A check tells of a release whose signatures do not count (any more) on the host, beside the differences."""
    (host.home / "trust" / "0001" / "allowed_signers.bundle").write_text("")

    with host.wire() as wire:
        found = check_all(wire)

    assert found.differences == ()
    assert {name: part.status for name, part in found.signed.items()} == {ONE.id: 70, TWO.id: 70}
    assert "0 of 1 required signers" in found.signed[ONE.id].why


def test_what_lies_among_the_signed_files_is_told(host: Host) -> None:
    """A file that nobody signed, beside the tables, makes the host refuse the signed part by that rule."""
    (host.home / "releases" / ONE.id / "signed" / "files-other.sha256").touch()

    with host.wire() as wire:
        found = check_all(wire).signed[ONE.id]

    assert (found.status, found.faults) == (65, ())
    assert "files-other.sha256" in found.why


def test_a_previous_path_below_a_file_of_the_active_release_is_not_missed(host: Host) -> None:
    """Where a file took the place of a directory, what was in the directory is not expected any more."""
    host.add(Made("x-1-1", {"x/d/f": b"1", "x/d/g/h": b"2", "x/e": b"3"}))
    host.add(Made("x-1-2", {"x/d": b"4", "x/e/f": b"5"}))
    with host.wire() as wire:
        activate(wire, "x-1-1")
        activate(wire, "x-1-2")

        assert check(wire) == ()


def test_blobs_that_are_gone_or_damaged_are_listed(host: Host) -> None:
    """A blob that is missing, or has other bytes under its name, is said to be needed."""
    host.blob(b"second").unlink()
    replace(host.blob(b"no"), b"xx")

    with host.wire() as wire:
        assert set(damaged_blobs(wire, [TWO.id])) == {digest_of(b"second"), digest_of(b"no")}
        assert set(damaged_blobs(wire, [ONE.id])) == {digest_of(b"no")}


def test_restore_mends_from_blobs_alone(host: Host) -> None:
    """What was replaced, removed, added or re-moded is as signed again, served at once, with nothing sent."""
    tree = host.tree(TWO.id)
    replace(tree / INDEX, b"bad")
    (tree / BASE / "venvs" / "nova.tar.zst").unlink()
    (tree / BASE / "venvs").rmdir()
    (tree / BASE / "venvs").symlink_to("/etc")
    (tree / BASE / "stray dir\n").mkdir()
    (tree / BASE / "stray dir\n" / "x").touch()
    replace(host.root / WHEEL, b"bad")
    (host.root / BASE / "wheels" / "stray.whl").touch()

    with host.wire() as wire:
        needed = restore(wire, TWO.id)

        assert (needed, check(wire, TWO.id), check(wire)) == ((), (), ())
    assert Path("/etc/passwd").exists()


def test_restore_says_which_blobs_it_needs(host: Host) -> None:
    """A write in place damages file, tree and blob at once: the blob is dropped and named, then all is mended."""
    with (host.root / INDEX).open("r+b") as file:
        file.write(b"XX")

    with host.wire() as wire:
        needed = restore(wire, TWO.id)
        still = check(wire)
        pushed = host.home / "inbox" / TWO.id / "blobs"
        pushed.mkdir(parents=True)
        (pushed / digest_of(b"second")).write_bytes(b"second")
        again = restore(wire, TWO.id)

        assert needed == (digest_of(b"second"),)
        assert still == (Difference(kind="changed", path=INDEX),)
        assert (again, check(wire)) == ((), ())


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "amid", "fail"])
def test_a_restore_that_dies_is_done_again(tmp_path: Path, fault: Fault) -> None:
    """Struck at many a command, a restore has never served anything worse, and a rerun mends all."""
    killer = Killer(tmp_path / "killer")
    hosts: list[Host] = []
    struck: list[str] = []

    def prepare() -> None:
        host = Host(tmp_path / f"host{len(hosts)}")
        host.add(ONE)
        with host.wire() as wire:
            activate(wire, ONE.id)
        replace(host.tree(ONE.id) / INDEX, b"bad")
        (host.tree(ONE.id) / ARCHIVE).unlink()
        (host.tree(ONE.id) / "stray").mkdir()
        (host.root / WHEEL).unlink()
        hosts.append(host)

    def act() -> None:
        with hosts[-1].wire({"PATH": str(killer.path), "TMPDIR": str(tmp_path)}) as wire:
            assert restore(wire, ONE.id) == ()

    def judge(hit: str) -> None:
        served = hosts[-1].served()
        assert served.items() >= {path: data for path, data in ONE.files.items() if path != WHEEL}.items(), hit
        act()
        with hosts[-1].wire() as wire:
            assert (check(wire), check(wire, ONE.id)) == ((), ()), hit
        assert hosts[-1].leftovers() == [], hit
        struck.append(hit)

    strike_each(killer, Trial(prepare=prepare, act=act, judge=judge), fault, stride=8)

    assert len(struck) > 5


def test_blobs_are_fetched_for_another_host(host: Host) -> None:
    """Blobs come back byte for byte, with newlines and none at the end; a missing one is refused."""
    data = b"\n=ok\nok\n\0no newline"
    host.put_blob(data)

    with host.wire() as wire:
        wanted = {digest_of(data): len(data), digest_of(b"second"): None}
        fetched = [(digest, size, b"".join(pieces)) for digest, size, pieces in fetch_blobs(wire, wanted)]
        with pytest.raises(HostRefused, match="not here"):
            list(fetch_blobs(wire, {"0" * 64: None}))
        with pytest.raises(HostRefused, match="not those that were signed"):
            list(fetch_blobs(wire, {digest_of(b"second"): 7}))

    assert fetched == [(digest_of(data), len(data), data), (digest_of(b"second"), 6, b"second")]


def test_receipt_is_signed_by_the_host_key(host: Host, tmp_path: Path) -> None:
    """The receipt names every release with state and digest; ssh-keygen accepts its signature by the host's key."""
    key = tmp_path / "host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text()
    (tmp_path / "signers").write_text(f'repo1 namespaces="receipt@offline" {public}')

    with host.wire() as wire:
        text, signature = host_receipt(wire, str(key))

    (tmp_path / "sig").write_bytes(signature)
    verify = ["ssh-keygen", "-Y", "verify", "-n", "receipt@offline", "-I", "repo1", "-f", "signers", "-s", "sig"]
    subprocess.run(verify, input=text, check=True, capture_output=True, cwd=tmp_path)
    assert f"release {TWO.id} active {host.list_digest(TWO.id)}" in text.decode().splitlines()
    assert f"release {ONE.id} previous {host.list_digest(ONE.id)}" in text.decode().splitlines()


def test_a_letter_that_ls_escapes_is_no_difference() -> None:
    """A signed name outside ASCII is the same name however ls writes it."""
    rows = ["-x/h\u00e4.whl\t-rw-r--r--\troot\troot\t", "+x/h\\303\\244.whl\t-rw-r--r--\troot\troot\t"]

    assert differences(rows) == ()

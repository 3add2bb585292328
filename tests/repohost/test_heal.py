"""What a host comes out of by itself: rot, a reboot amid a run, very many blobs, logins that are separate."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.errors import (
    BundlerError,
    Busy,
    EquivocationRefused,
    FileMissing,
    HostRefused,
    SignatureRefused,
)
from bundler.repohost.intake import admit, blobs, send_signed
from bundler.repohost.releases import activate, check, fetch_signed, restore_signed, vouch
from bundler.repohost.wire import WireOptions, open_wire
from bundler.transport.port import Channel
from tests.bundles import DEBIAN, UBUNTU, Keys, Sample, make_sample
from tests.repohost.handmade import GROUP, OWNER
from tests.repohost.killer import ShellTransport
from tests.repohost.pushing import Roots, bundle_id, expected, push, push_blobs, signed_part, tree_of, trust, wired

MakeBundle = Callable[..., Path]


@pytest.fixture
def newer(make_bundle: MakeBundle, keys: Keys, plain_sample: Sample) -> Path:
    """Return a second bundle with the same files."""
    path = make_bundle("newer", plain_sample, sequence=1795123457)
    keys.sign(path, "alice")
    return path


@pytest.fixture
def staged(root: Path, roots: Roots, signed_bundle: Path, plain_sample: Sample) -> Path:
    """Return a root that has admitted the first bundle and serves nothing."""
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
        push(wire, signed_bundle, plain_sample)
    return root


def spoil(path: Path) -> None:
    """Change the first byte."""
    with path.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))


def first_file(sample: Sample, *, parts: bool) -> str:
    """Return the path of a file of one blob, or of many."""
    return next(one.path for one in sample.files if DEBIAN in one.targets and (len(one.blobs) > 1) == parts)


@pytest.mark.parametrize("parts", [True, False])
def test_a_rotten_blob_is_sent_again(staged: Path, newer: Path, plain_sample: Sample, parts: bool) -> None:
    """A blob that rotted in the store is refused once and removed; a rerun sends it and ends well."""
    path = first_file(plain_sample, parts=parts)
    blob = next(one.blobs[0] for one in plain_sample.files if one.path == path)
    spoil(staged / ".bundles/blobs" / blob[:2] / blob)

    with wired(staged) as wire:
        with pytest.raises(FileMissing, match=blob):
            push(wire, newer, plain_sample)
        release = push(wire, newer, plain_sample)

    assert tree_of(staged, release) == expected(plain_sample)


def test_a_rotten_archive_is_not_handed_on(
    staged: Path, signed_bundle: Path, newer: Path, plain_sample: Sample
) -> None:
    """An archive that rotted in the active release is put together from blobs for the next one."""
    with wired(staged) as wire:
        activate(wire, bundle_id(signed_bundle))
        spoil(staged / first_file(plain_sample, parts=True))

        release = push(wire, newer, plain_sample)

    assert tree_of(staged, release) == expected(plain_sample)


def test_a_lock_from_before_a_reboot_is_no_obstacle(root: Path, roots: Roots) -> None:
    """A lock names when its process began: another one that got its number since does not hold it."""
    lock = root / ".bundles/lock"
    lock.mkdir(parents=True)
    (lock / "owner").symlink_to(f"{os.uname().nodename} {os.getpid()} 1600000000 1")

    with wired(root) as wire:
        trust(wire, roots.container(roots.first))

    assert (root / ".bundles/trust/0001").is_dir()


def test_a_living_holder_keeps_its_lock(root: Path, roots: Roots) -> None:
    """The same with the right beginning is held."""
    began = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(") ")[2].split()[19]
    lock = root / ".bundles/lock"
    lock.mkdir(parents=True)
    (lock / "owner").symlink_to(f"{os.uname().nodename} {os.getpid()} 1600000000 {began}")

    with wired(root) as wire, pytest.raises(Busy, match=f"process {os.getpid()} on"):
        trust(wire, roots.container(roots.first))


@pytest.mark.slow
def test_very_many_blobs_are_told(root: Path) -> None:
    """More blobs than the names of which fit on one command line are all told."""
    folder = root / ".bundles/inbox/x-1-1/blobs"
    folder.mkdir(parents=True)
    for number in range(20_000):
        os.close(os.open(folder / f"{number:04x}"[::-1].ljust(64, "a"), os.O_CREAT | os.O_WRONLY))

    with wired(root) as wire:
        found = blobs(wire)

    assert len(found.complete) == 20_000


def test_a_push_login_clears_out_what_was_admitted(
    root: Path, tmp_path: Path, roots: Roots, signed_bundle: Path, newer: Path, plain_sample: Sample
) -> None:
    """The admitting login cannot remove pushes: with the next one their own login does."""
    inbox = tmp_path / "inbox"
    pushed = inbox / bundle_id(signed_bundle)
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
        push(wire, signed_bundle, plain_sample)
    pushed.mkdir(parents=True)

    with wired(root, role="push", inbox=inbox) as wire:
        send_signed(wire, bundle_id(newer), signed_part(newer, [DEBIAN]))

    assert [path.name for path in inbox.iterdir()] == [bundle_id(newer)]


def signed_of(root: Path, release: str) -> Path:
    return root / ".bundles/releases" / release / "signed"


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").touch()


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        (f"files-{DEBIAN}.sha256", spoil),
        (f"assemble-{DEBIAN}.tsv", _pipe),
        ("release.txt", Path.unlink),
        ("release.txt", _folder),
        ("SHA256SUMS", _cut_off),
        ("SHA256SUMS", _pipe),
        ("SHA256SUMS.alice.sig", spoil),
        ("SHA256SUMS.alice.sig", _folder),
    ],
)
def test_a_damaged_signed_part_is_put_back(
    staged: Path, signed_bundle: Path, name: str, harm: Callable[[Path], object]
) -> None:
    """Sent again, the list, its signatures and the tables take the place of damaged ones, and what was added goes."""
    release = bundle_id(signed_bundle)
    harm(signed_of(staged, release) / name)
    (signed_of(staged, release) / "stray").touch()
    part = signed_part(signed_bundle, [DEBIAN])

    with wired(staged) as wire:
        before = vouch(wire, release)
        send_signed(wire, release, part)
        restore_signed(wire, release)
        after = vouch(wire, release)
        found = fetch_signed(wire, release)
        differences = check(wire, release)

    assert before.status != 0
    assert (after.status, after.faults, differences) == (0, (), ())
    assert found == {name: data[0] for name, data in part.items()}
    assert not (staged / ".bundles/inbox" / release).exists()


def test_tables_of_other_targets_do_not_come_in(staged: Path, signed_bundle: Path) -> None:
    """What is sent beside the tables of the release's own targets is left, however well it is signed."""
    release = bundle_id(signed_bundle)
    before = {path.name for path in signed_of(staged, release).iterdir()}

    with wired(staged) as wire:
        send_signed(wire, release, signed_part(signed_bundle, [DEBIAN, UBUNTU]))
        restore_signed(wire, release)
        differences = check(wire, release)

    assert {path.name for path in signed_of(staged, release).iterdir()} == before
    assert differences == ()


@pytest.mark.parametrize("what", ["stranger", "damaged", "half", "other content"])
def test_only_the_signed_part_of_that_release_is_taken(
    staged: Path, bundle: Path, keys: Keys, make_bundle: MakeBundle, what: str
) -> None:
    """A stranger's signature, other bytes, too little, or another bundle under the same number change nothing."""
    release = bundle_id(bundle)
    spoil(signed_of(staged, release) / "release.txt")
    rule: type[BundlerError] = BundlerError
    if what == "other content":
        bundle = make_bundle("twin", make_sample(2))
        keys.sign(bundle, "alice")
        rule = EquivocationRefused
    elif what == "stranger":
        (bundle / "SHA256SUMS.alice.sig").unlink()
        keys.sign(bundle, "mallory", as_name="alice")
        rule = SignatureRefused
    part = signed_part(bundle, [DEBIAN])
    if what == "damaged":
        part["release.txt"] = [b"?"]
    elif what == "half":
        del part[f"blobs-{DEBIAN}.sha256"]
        rule = FileMissing
    before = {path.name: path.read_bytes() for path in signed_of(staged, release).iterdir()}

    with wired(staged) as wire:
        send_signed(wire, release, part)
        with pytest.raises(rule):
            restore_signed(wire, release)

    assert {path.name: path.read_bytes() for path in signed_of(staged, release).iterdir()} == before
    assert list((staged / ".bundles/releases").glob(".*")) == []


def test_nothing_is_put_back_that_was_not_sent(staged: Path, signed_bundle: Path) -> None:
    """Asked without anything in the inbox, the host says so."""
    with wired(staged) as wire, pytest.raises(FileMissing, match="nothing of"):
        restore_signed(wire, bundle_id(signed_bundle))


def test_the_admitting_login_puts_back_what_the_pushing_one_left(
    staged: Path, tmp_path: Path, signed_bundle: Path
) -> None:
    """In separate hands too, and a link that the pusher put in place of a file leads nowhere."""
    release, inbox = bundle_id(signed_bundle), tmp_path / "inbox"
    _cut_off(signed_of(staged, release) / "release.txt")
    with wired(staged, role="push", inbox=inbox) as wire:
        send_signed(wire, release, signed_part(signed_bundle, [DEBIAN]))
    pushed = inbox / release / "signed" / "release.txt"
    pushed.rename(pushed.with_name("other"))
    pushed.symlink_to("other")

    with wired(staged, role="admit", inbox=inbox) as wire:
        with pytest.raises(BundlerError, match="not a regular file"):
            restore_signed(wire, release)
        pushed.unlink()
        pushed.with_name("other").rename(pushed)
        restore_signed(wire, release)

        assert (vouch(wire, release).status, vouch(wire, release).faults) == (0, ())


NOBODY = 65534


class Nobody(ShellTransport):
    """Commands run as a user of their own, whom nothing belongs to."""

    def open(self, argv: Sequence[str]) -> Channel:
        return super().open(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *argv])


@pytest.fixture
def shared() -> Iterator[Path]:
    """Yield a root that other users may look into, its inbox made as the guide says."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "repo"
        (root / ".bundles" / "inbox").mkdir(parents=True)
        os.chown(root / ".bundles" / "inbox", NOBODY, NOBODY)
        for path in (root.parent, root, root / ".bundles", root / ".bundles" / "inbox"):
            path.chmod(0o755)
        yield root


@pytest.mark.skipif(os.getuid() != 0, reason="needs two users")
def test_two_users_share_a_host_as_the_guide_says(
    shared: Path, roots: Roots, signed_bundle: Path, newer: Path, plain_sample: Sample
) -> None:
    """One user writes to its inbox and nowhere else, the other takes it from there; the next push clears it out."""
    options = WireOptions(root=str(shared), owner=OWNER, group=GROUP)
    release, pushing = bundle_id(signed_bundle), Nobody()
    with wired(shared) as wire:
        trust(wire, roots.container(roots.first))
    shutil.rmtree(shared / ".bundles" / "inbox" / ".trust")

    wire = open_wire(pushing, replace(options, role="push"))
    send_signed(wire, release, signed_part(signed_bundle, [DEBIAN]))
    push_blobs(wire, signed_bundle, plain_sample)
    thief = open_wire(pushing, options)
    with pytest.raises(HostRefused, match="cannot be written"):
        admit(thief, release, [DEBIAN])
    with wired(shared, role="admit") as admitting:
        admit(admitting, release, [DEBIAN])
        activate(admitting, release)
    send_signed(wire, bundle_id(newer), signed_part(newer, [DEBIAN]))
    pushing.close()

    assert tree_of(shared, release) == expected(plain_sample)
    inbox = shared / ".bundles" / "inbox"
    assert [path.name for path in inbox.iterdir() if not path.name.startswith(".")] == [bundle_id(newer)]
    owners = {path.stat().st_uid for path in (shared / ".bundles").iterdir() if path != inbox and path.exists()}
    assert (inbox.stat().st_uid, owners) == (NOBODY, {0})

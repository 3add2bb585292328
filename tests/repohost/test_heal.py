"""What a host comes out of by itself: rot, a reboot amid a run, very many blobs, logins that are separate."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.errors import Busy, FileMissing
from bundler.repohost.intake import blobs, send_signed
from bundler.repohost.releases import activate
from tests.bundles import DEBIAN, Keys, Sample
from tests.repohost.pushing import Roots, bundle_id, expected, push, signed_part, tree_of, trust, wired

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

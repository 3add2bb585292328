"""One bundle on several media: given together, asked for one after the other, found on a stick."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bundler.bundle.sticks import find_bundle, open_media
from bundler.bundle.verification import Verified
from bundler.errors import BundlerError, FileMissing, FileUnlisted, IntegrityError, UsageError
from bundler.workflows.verify import VerifyRequest, verify
from tests.bundles import Keys

COMMON, DEBIAN, UBUNTU = (f"{name}-001.tar.zst" for name in ("common", "debian-12-x86_64", "ubuntu-24.04-x86_64"))
SIGNED = ("SHA256SUMS", "SHA256SUMS.alice.sig")


def split(bundle: Path, *away: str) -> Path:
    """Move files of a bundle to a stick of their own and return that."""
    stick = bundle.with_name(f"stick-{away[0]}") / bundle.name
    stick.mkdir(parents=True)
    for name in SIGNED:
        shutil.copy(bundle / name, stick / name)
    for name in away:
        shutil.move(bundle / name, stick / name)
    return stick


class Person:
    """Puts in one stick after the other, and remembers what was asked for."""

    def __init__(self, *sticks: Path | None) -> None:
        self.sticks = list(sticks)
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, missing: tuple[str, ...]) -> Path | None:
        self.asked.append(missing)
        return self.sticks.pop(0) if self.sticks else None


def check(keys: Keys, media: Iterable[Path], person: Person | None = None, *, deep: bool = False) -> Verified:
    first, *others = media
    request = VerifyRequest(bundle=first, others=tuple(others), allowed_signers=keys.allowed, deep=deep)
    return verify(request, ask=person)


def test_volumes_may_be_spread_over_sticks(bundle: Path, keys: Keys) -> None:
    """Given all sticks at once, in any form and by their top directories, the bundle is whole, also deep."""
    second, third = split(bundle, DEBIAN), split(bundle, UBUNTU, "evidence.tar.zst")
    tar = third.parent.with_suffix(".tar")
    subprocess.run(["tar", "-cf", tar, "-C", third.parent, third.name], check=True)

    assert check(keys, [bundle, second.parent, tar], deep=True).quorum.signers == ("alice",)


def test_the_next_stick_is_asked_for_by_name(bundle: Path, keys: Keys) -> None:
    """What is there is read first; then exactly what is missing is asked for until all was there."""
    second, third = split(bundle, DEBIAN), split(bundle, UBUNTU, "verify.sh")
    person = Person(second, bundle, third)

    verified = check(keys, [bundle], person)

    assert verified.unread == ()
    assert person.asked == [(DEBIAN, UBUNTU, "verify.sh"), (UBUNTU, "verify.sh"), (UBUNTU, "verify.sh")]


def test_sticks_may_take_turns_in_one_place(bundle: Path, keys: Keys, tmp_path: Path) -> None:
    """A stick is let go before the next one is asked for: both may be mounted at the same place."""
    second = split(bundle, DEBIAN)
    place = tmp_path / "media"
    bundle.rename(place)

    def change(_missing: tuple[str, ...]) -> Path:
        shutil.rmtree(place)
        second.rename(place)
        return place

    request = VerifyRequest(bundle=place, allowed_signers=keys.allowed)

    assert verify(request, ask=change).unread == ()


def test_without_anybody_to_ask_every_missing_file_is_named(bundle: Path, keys: Keys) -> None:
    """With nobody to ask, all that is missing is in one error; before anything large is read."""
    split(bundle, DEBIAN, UBUNTU)
    (bundle / COMMON).write_bytes(b"damaged, and not looked at")

    with pytest.raises(FileMissing) as caught:
        check(keys, [bundle])

    assert caught.value.exit_code == 64
    assert [problem.where for problem in caught.value.problems] == [repr(DEBIAN), repr(UBUNTU)]


def test_a_person_who_has_no_more_sticks_ends_it(bundle: Path, keys: Keys) -> None:
    """No answer is the same as nobody to ask."""
    split(bundle, DEBIAN)

    with pytest.raises(FileMissing, match=DEBIAN):
        check(keys, [bundle], Person(None))


def test_sticks_of_two_bundles_do_not_mix(bundle: Path, keys: Keys, make_bundle: Any, sampler: Any) -> None:
    """A stick with another list, or with other signatures, is no part of this bundle, however it comes."""
    second = split(bundle, DEBIAN)
    other = make_bundle("other", sampler(2))
    keys.sign(other, "alice")
    resigned = second.with_name("resigned")
    shutil.copytree(second, resigned)
    keys.sign(resigned, "bob")

    for stick, name in ((other, "SHA256SUMS"), (resigned, "SHA256SUMS.bob.sig")):
        with pytest.raises(IntegrityError, match=f"its {name} differs") as caught:
            check(keys, [bundle, stick])
        assert caught.value.exit_code == 61
        with pytest.raises(IntegrityError, match="differs"):
            check(keys, [bundle], Person(stick))


def test_of_two_copies_the_first_counts(bundle: Path, keys: Keys) -> None:
    """A file on two sticks comes from the first as a whole, good or bad."""
    copy = bundle.with_name("copy")
    shutil.copytree(bundle, copy)
    (copy / DEBIAN).write_bytes(b"damaged")

    assert check(keys, [bundle, copy]).unread == ()
    with pytest.raises(IntegrityError, match=DEBIAN):
        check(keys, [copy, bundle])


def test_an_unlisted_file_on_a_later_stick_is_refused(bundle: Path, keys: Keys) -> None:
    """Every stick holds nothing but listed files, also one that comes last."""
    second = split(bundle, DEBIAN)
    (second / "evil.whl").write_bytes(b"x")

    with pytest.raises(FileUnlisted, match="evil"):
        check(keys, [bundle, second])
    with pytest.raises(FileUnlisted, match="evil"):
        check(keys, [bundle], Person(second))


def test_the_bundle_on_a_stick_is_found(bundle: Path, tmp_path: Path) -> None:
    """A stick's top directory will do if one bundle is on it; trust documents and other files are none."""
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "trust-0001").mkdir()
    (stick / "trust-0001" / "SHA256SUMS").write_bytes(b"")
    (stick / "notes.txt").write_bytes(b"")
    (stick / "link").symlink_to(bundle)
    with pytest.raises(UsageError, match="no bundle"):
        find_bundle(stick)
    shutil.copytree(bundle, stick / "demo-1")

    assert find_bundle(stick) == stick / "demo-1"
    assert find_bundle(bundle) == bundle


def test_of_several_bundles_one_must_be_named(bundle: Path, tmp_path: Path) -> None:
    """Several bundles on a stick are listed; the name of the first stick decides, nothing is guessed."""
    for name in ("demo-1", "demo-2"):
        shutil.copytree(bundle, tmp_path / "stick" / name)

    with pytest.raises(UsageError) as caught:
        find_bundle(tmp_path / "stick")

    assert caught.value.exit_code == 2
    assert "demo-1, demo-2" in caught.value.message
    assert find_bundle(tmp_path / "stick", "demo-2").name == "demo-2"


def test_list_and_signatures_are_read_once(bundle: Path) -> None:
    """The bytes that were compared between sticks are handed out, whatever the medium says later."""
    before = (bundle / "SHA256SUMS").read_bytes()
    with open_media([bundle]) as media:
        (bundle / "SHA256SUMS").write_bytes(b"other")

        with media.open("SHA256SUMS") as file:
            assert file.read() == before
        assert media.size("SHA256SUMS") == len(before)


def test_what_is_nowhere_is_missing(bundle: Path) -> None:
    """A name that no medium has is an error of its own."""
    with open_media([bundle]) as media, pytest.raises(BundlerError) as caught:
        media.open("nothing")

    assert caught.value.exit_code == 64

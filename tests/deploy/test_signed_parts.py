"""The signed part of a release on a repo host: damage is named, and mended from wherever there is a right one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.deploy.signed_part import signed_differences
from bundler.errors import DriftFound, HostRefused
from bundler.events import Event, Warned
from bundler.repohost.releases import SignedPart
from bundler.workflows.site.check import CheckRequest, check
from bundler.workflows.site.repair import RepairRequest, repair
from tests.bundles import DEBIAN, Sample, digest_of, make_sample
from tests.deploy.scene import LINE, Scene, states

TABLE, LIST, SIGNATURE = f"files-{DEBIAN}.sha256", "SHA256SUMS", "SHA256SUMS.alice.sig"
PART = f".bundles/releases/{LINE}-2/signed"


def spoil(path: Path) -> None:
    """Let one byte in the middle be another one."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def differences(scene: Scene) -> dict[str, list[tuple[str, str]]]:
    """Return what a check finds, by host."""
    answers = check(CheckRequest(places=scene.places)).answers
    return {one.host.name: [(found.kind, found.path) for found in one.get()] for one in answers}


@pytest.mark.parametrize(
    ("name", "harm"),
    [(TABLE, spoil), (TABLE, Path.unlink), (LIST, spoil), (SIGNATURE, spoil), (SIGNATURE, Path.unlink)],
)
def test_check_names_a_damaged_signed_part(
    scene: Scene, applied: tuple[Sample, Sample], name: str, harm: Callable[[Path], object]
) -> None:
    """A table, the list or a signature that is damaged on one host is drift, named like any other file."""
    harm(scene.root("b") / PART / name)

    found = check(CheckRequest(places=scene.places))

    assert differences(scene) == {"a": [], "b": [("changed" if harm is spoil else "removed", f"{PART}/{name}")]}
    with pytest.raises(DriftFound, match="1 of 2 hosts"):
        found.require_clean()


def test_another_list_than_this_site_keeps_is_named(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """A host that has another bundle under the same number, signed as well and with facts to match, is found out."""
    aside = scene.base / "aside"
    (scene.stick / f"{LINE}-2").rename(aside)
    twin = scene.bundle(2, make_sample(3))
    place = scene.root("b") / PART
    for path in place.iterdir():
        shutil.copy(twin / path.name, path)
    facts = place.parent / "facts"
    digest = digest_of((twin / LIST).read_bytes())
    facts.write_text(facts.read_text().replace(digest_of((aside / LIST).read_bytes()), digest))

    found = check(CheckRequest(places=scene.places)).answers[1].get()

    assert "not the list of which this site keeps a copy" in {one.detail for one in found if one.path.endswith(LIST)}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (TABLE, "staged"),
        (LIST, "kept"),
        (SIGNATURE, "kept"),
        (SIGNATURE, "medium"),
        (TABLE, "host"),
        (LIST, "host"),
        (SIGNATURE, "host"),
    ],
)
def test_repair_sends_the_signed_part_again(
    scene: Scene, applied: tuple[Sample, Sample], name: str, source: str
) -> None:
    """From the copy of the medium, what was kept, the medium itself or another host; then the files are compared."""
    spoil(scene.root("b") / PART / name)
    next((scene.root("b") / "os-releases").glob("*/*/wheels/pure*")).unlink()
    for place in {"staged": (), "kept": ("staging",)}.get(source, ("staging", "releases")):
        (scene.places.state / place).rename(scene.base / place)
    if source == "medium":
        scene.site(scene.local("b"))
    media = (scene.stick / f"{LINE}-2",) if source == "medium" else ()

    found = repair(RepairRequest(places=scene.places, media=media, hosts=("b",)))

    found.require_success()
    assert [one.get().differences for one in found.answers] == [2]
    assert differences(scene)["b"] == []
    assert scene.serves("b", applied[1])


def test_a_damaged_copy_here_is_passed_over(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """What the host refuses, or cannot be read here, is no source; the next one is asked."""
    spoil(scene.root("b") / PART / LIST)
    for staged in scene.places.staging.iterdir():
        (staged / "bundle.json").write_text("{")
    spoil(scene.places.releases / f"{LINE}-2" / SIGNATURE)

    repair(RepairRequest(places=scene.places, hosts=("b",))).require_success()

    assert (scene.root("b") / PART / SIGNATURE).read_bytes() == (scene.root("a") / PART / SIGNATURE).read_bytes()


def test_without_a_right_copy_the_medium_is_asked_for(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """Where nobody has it, repair says what to bring."""
    spoil(scene.root("b") / PART / TABLE)
    for place in ("staging", "releases"):
        (scene.places.state / place).rename(scene.base / place)
    scene.site(scene.local("b"))

    found = repair(RepairRequest(places=scene.places))

    with pytest.raises(HostRefused, match="nobody has the signed part") as refused:
        found.require_success()
    assert "/media/stick" in refused.value.hint


@pytest.mark.parametrize("name", [TABLE, SIGNATURE])
def test_apply_of_the_same_bundle_mends_it_too(scene: Scene, applied: tuple[Sample, Sample], name: str) -> None:
    """A host that is up to date but for its signed part gets that, and no blobs."""
    spoil(scene.root("b") / PART / name)

    again = scene.apply(scene.stick / f"{LINE}-2")

    assert states(again) == {"a": "up to date", "b": "up to date"}
    assert differences(scene) == {"a": [], "b": []}


def test_a_signature_that_was_added_since_is_handed_on(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """Somebody else signs a bundle that hosts have: applied again, it brings them that signature, and no blobs."""
    bundle = scene.stick / f"{LINE}-2"
    scene.keys.sign(bundle, "bob")

    again = scene.apply(bundle)

    assert states(again) == {"a": "up to date", "b": "up to date"}
    for name in "ab":
        signatures = {path.name for path in (scene.root(name) / PART).glob("*.sig")}
        assert signatures == {SIGNATURE, "SHA256SUMS.bob.sig"}
    assert differences(scene) == {"a": [], "b": []}


def test_trust_that_moved_on_is_no_drift(scene: Scene, applied: tuple[Sample, Sample]) -> None:
    """Signatures that are as they were and count no more are a warning: the host is as it was signed."""
    for name in "ab":
        (scene.root(name) / ".bundles" / "trust" / "0001" / "allowed_signers.bundle").write_text("")
    told: list[Event] = []

    found = check(CheckRequest(places=scene.places), told.append)

    found.require_clean()
    assert sum("trust of today refuses" in one.message for one in told if isinstance(one, Warned)) == 4


@pytest.mark.parametrize(
    ("part", "kind", "path"),
    [
        (SignedPart(status=65, why="x is not listed"), "changed", PART),
        (SignedPart(status=70, why="0 of 1"), "removed", PART),
        (SignedPart(status=74, why="no trust"), "", ""),
        (SignedPart(status=70, why="0 of 1", digests={LIST: "a", SIGNATURE: "b"}), "", ""),
    ],
)
def test_a_release_of_which_nothing_was_kept(part: SignedPart, kind: str, path: str) -> None:
    """Without a copy here the host's word alone counts: what it refuses for other reasons than trust is drift."""
    found = signed_differences(f"{LINE}-2", part)

    assert [(one.kind, one.path) for one in found] == ([(kind, path)] if kind else [])

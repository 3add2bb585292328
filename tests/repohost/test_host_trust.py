"""How a repo host takes trust documents: each by the rules of the one before, the first by its digest or as given."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundler.errors import TrustMissing, TrustRefused
from bundler.repohost.intake import look, send_trust
from bundler.repohost.script import full_text
from tests.repohost.killer import Killer, Trial, strike_each
from tests.repohost.pushing import Container, Roots, leftovers, trust, wired


def versions(root: Path) -> list[str]:
    return sorted(path.name for path in (root / ".bundles" / "trust").iterdir())


def test_documents_are_walked_one_by_one(root: Path, roots: Roots) -> None:
    """Version 3 comes by way of 2; handing them over again changes nothing."""
    documents = [roots.container(replace(roots.first, version=number)) for number in (1, 2, 3)]

    with wired(root) as wire:
        trust(wire, *documents)
        trust(wire, *documents)
        facts = look(wire)

    assert facts.trust == 3
    assert versions(root) == ["0001", "0002", "0003"]
    assert list((root / ".bundles" / "inbox" / ".trust").iterdir()) == []


@pytest.mark.parametrize(
    ("version", "signers", "why"),
    [
        (2, ("root-1",), "by the rules of 1: 1 of 2"),
        (2, ("root-1", "stranger"), "by the rules of 1: 1 of 2"),
        (3, ("root-1", "root-2"), "does not follow 1"),
    ],
)
def test_what_does_not_follow_is_refused(
    root: Path, roots: Roots, version: int, signers: tuple[str, ...], why: str
) -> None:
    """Too few roots, strangers, and skipped versions change nothing."""
    with wired(root) as wire:
        trust(wire, roots.container(roots.first))
        bad = roots.container(replace(roots.first, version=version), *signers)
        with pytest.raises(TrustRefused, match=why):
            send_trust(wire, [(version, bad)])

    assert versions(root) == ["0001"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"floors": {}}, "floor of demo falls from 5 to 0"),
        ({"floors": {"demo": 4}}, "floor of demo falls from 5 to 4"),
        ({"epochs": {"demo": 1}}, "epoch of demo falls from 2 to 1"),
        ({"floors": {"demo": 4, "other": 1}, "epochs": {"demo": 1}}, "falls from"),
        ({"revoked_bundles": ("b" * 64,)}, f"{'a' * 64} is no longer revoked"),
        ({"revoked_keys": ()}, "a key is no longer revoked"),
    ],
)
def test_nothing_goes_back(root: Path, roots: Roots, change: dict[str, Any], why: str) -> None:
    """A floor or epoch that would fall, or what would be trusted again, is refused whatever quorum signed it."""
    high = replace(
        roots.first,
        floors={"demo": 5},
        epochs={"demo": 2},
        revoked_bundles=("a" * 64,),
        revoked_keys=(roots.key("bob"),),
    )
    with wired(root) as wire:
        trust(wire, roots.container(high))
        with pytest.raises(TrustRefused, match=why):
            send_trust(wire, [(2, roots.container(replace(high, version=2, **change)))])
        send_trust(wire, [(2, roots.container(replace(high, version=2, floors={"demo": 6})))])

    assert versions(root) == ["0001", "0002"]


def test_a_new_epoch_may_lower_its_floor(root: Path, roots: Roots) -> None:
    """What begins to count anew has a floor of its own; other floors stay."""
    high = replace(roots.first, floors={"demo": 5, "other": 7})
    with wired(root) as wire:
        trust(wire, roots.container(high))
        lower = roots.container(replace(high, version=2, floors={"demo": 1}, epochs={"demo": 1}))
        with pytest.raises(TrustRefused, match="floor of other falls from 7 to 0"):
            send_trust(wire, [(2, lower)])
        right = replace(high, version=2, floors={"demo": 1, "other": 7}, epochs={"demo": 1})
        send_trust(wire, [(2, roots.container(right))])

    assert versions(root) == ["0001", "0002"]


def test_a_new_quorum_signs_too(root: Path, roots: Roots) -> None:
    """A document that asks for three roots needs three, even where the one before asked for two."""
    stricter = replace(roots.first, version=2, root_threshold=3)
    with wired(root) as wire, pytest.raises(TrustRefused, match="by its own rules: 2 of 3"):
        trust(wire, roots.container(roots.first), roots.container(stricter))

    assert versions(root) == ["0001"]


def test_a_document_without_its_plain_files_is_refused(root: Path, roots: Roots) -> None:
    """A host never takes a document that it could not judge bundles by."""
    files = {name: data for name, data in roots.container(roots.first).items() if not name.startswith("SHA256SUMS")}
    del files["allowed_signers.bundle"]

    with wired(root) as wire, pytest.raises(TrustRefused, match=r"has no allowed_signers\.bundle"):
        trust(wire, roots.signed(files))


def test_separate_logins_bring_no_first_document(tmp_path: Path, root: Path, roots: Roots) -> None:
    """Where hands are separate, the first document is the administrator's to install."""
    inbox = tmp_path / "inbox"
    with (
        wired(root, role="push", inbox=inbox) as wire,
        wired(root, role="admit", inbox=inbox) as admitting,
        pytest.raises(TrustMissing, match="trust-init"),
    ):
        send_trust(wire, [(1, roots.container(roots.first))], admitting)


def by_hand(tmp_path: Path, root: Path, container: Container, digest: str) -> subprocess.CompletedProcess[str]:
    script, folder = tmp_path / "bundle-repo", tmp_path / "trust-0001"
    script.write_text(full_text())
    folder.mkdir(exist_ok=True)
    for name, data in container.items():
        (folder / name).write_bytes(data)
    argv = ["sh", str(script), "trust-init", str(root), str(folder), digest]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_first_document_by_hand_is_known_by_its_digest(tmp_path: Path, root: Path, roots: Roots) -> None:
    """trust-init takes the document of that digest, once, and no other."""
    container = roots.container(roots.first)
    digest = hashlib.sha256(container["SHA256SUMS"]).hexdigest()

    other = by_hand(tmp_path, root, container, "0" * 64)
    right = by_hand(tmp_path, root, container, digest)
    again = by_hand(tmp_path, root, container, digest)

    assert other.returncode != 0
    assert "is not 0000" in other.stderr
    assert right.returncode == 0, right.stderr
    assert "has trust 1 already" in again.stderr
    assert versions(root) == ["0001"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_anywhere_a_document_is_taken_or_not(tmp_path: Path, roots: Roots) -> None:
    """Killed at any command the host has version 1 or 2, whole; a rerun brings it to 2 and leaves nothing behind."""
    killer = Killer(tmp_path / "killer")
    env = {"PATH": str(killer.path), "TMPDIR": str(tmp_path)}
    root, before = tmp_path / "root", tmp_path / "before"
    before.mkdir()
    documents = [roots.container(replace(roots.first, version=number)) for number in (1, 2)]
    with wired(before) as wire:
        trust(wire, documents[0])

    def prepare() -> None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(before, root)

    def act() -> None:
        with wired(root, env=env) as wire:
            send_trust(wire, [(2, documents[1])])

    def judge(_: str) -> None:
        home = root / ".bundles"
        if (home / "trust" / "0002").exists():
            names = {path.name for path in (home / "trust" / "0002").iterdir()}
            assert names == set(documents[1])
        act()
        assert versions(root) == ["0001", "0002"]
        assert leftovers(root) == []

    assert strike_each(killer, Trial(prepare=prepare, act=act, judge=judge)) > 15

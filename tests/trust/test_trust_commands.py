"""`bundle-build trust` and `bundle-install trust` as people type them: what they say, write, and end with."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.trust.conftest import Ceremony

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Desk:
    """Where somebody sits: a directory with a stick, and the keys of all."""

    here: Path
    ceremony: Ceremony

    def run(self, program: str, *words: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        argv = [str(BIN / program), "trust", *map(str, words)]
        done = subprocess.run(argv, cwd=self.here, capture_output=True, text=True, check=False, timeout=60)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def build(self, *words: str | Path, status: int = 0) -> str:
        return self.run("bundle-build", *words, status=status).stdout

    def site(self, *words: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("bundle-install", *words, "--config-dir", "etc", "--state-dir", "var", status=status)

    def data(self, *words: str | Path) -> Any:
        return json.loads(self.site(*words, "--json").stdout)

    def named(self, *names: str) -> list[str]:
        """Return the words that make people root signers, or signers."""
        option = {True: "--root", False: "--signer"}
        return [word for name in names for word in (option[name.startswith("r")], f"{name}={self._key(name)}.pub")]

    def sign(self, *names: str) -> None:
        for name in names:
            self.build("sign", "trust", "--key", self._key(name), "--signer", name)

    def _key(self, name: str) -> Path:
        return self.ceremony.key(name)

    def begin(self) -> str:
        """Make, sign and export the first document; return the digest of the card."""
        self.build("new", "trust", *self.named("r1", "r2", "r3", "alice", "bob"), "--threshold", "1")
        self.sign("r1", "r2")
        digest: str = json.loads(self.build("export", "trust", "stick", "--json"))["root_digest"]
        return digest


@pytest.fixture
def desk(tmp_path: Path, ceremony: Ceremony) -> Desk:
    return Desk(tmp_path, ceremony)


def error(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    return found


def test_a_ceremony(desk: Desk) -> None:
    """New says what is missing, sign adds to it, export prints the digest for the card in groups of eight."""
    made = desk.build("new", "trust", *desk.named("r1", "r2", "r3", "alice"), "--root-threshold", "2")
    desk.sign("r1")
    half = desk.build("show", "trust")
    desk.sign("r3")
    whole = desk.build("show", "trust")
    exported = desk.build("export", "trust", "stick")

    assert "not complete: 0 of 2 root signers, by its own rules; still needed: 2 of r1, r2, r3" in made
    assert "still needed: 1 of r2, r3" in half
    assert "complete: its quorums hold" in whole
    assert "1 of 1 bundle signers must sign a bundle  (single signer)" in whole
    digest = subprocess.run(
        ["sha256sum", "stick/trust-0001/SHA256SUMS"], cwd=desk.here, capture_output=True, text=True, check=True
    )
    groups = exported.splitlines()[-1].split()
    assert "".join(groups) == digest.stdout[:64]
    assert {len(group) for group in groups} == {8}


def test_a_document_that_is_not_complete_is_not_exported(desk: Desk) -> None:
    """A site could not take it: exit status 75, and the stick stays as it was."""
    desk.build("new", "trust", *desk.named("r1", "r2", "alice"), "--root-threshold", "2")
    desk.sign("r1")

    done = desk.run("bundle-build", "export", "trust", "stick", status=75)

    assert "still needed: 1 of r2" in done.stderr
    assert not list((desk.here / "stick").glob("trust-*/*"))


def test_add_changes_a_document_until_it_is_complete(desk: Desk) -> None:
    """What is not complete yet is changed, and to be signed anew; after that the next version begins."""
    desk.build("new", "trust", *desk.named("r1", "alice"))
    desk.build("add", "trust", *desk.named("r2"), "--root-threshold", "2")
    desk.sign("r1", "r2")
    desk.build("add", "trust", "--floor", "demo=7")
    shown = json.loads(
        desk.build("add", "trust", "--epoch", "demo=1", "--remove", "r2", "--root-threshold", "1", "--json")
    )

    assert sorted(path.name for path in (desk.here / "trust").iterdir()) == ["trust-0001", "trust-0002"]
    assert (shown["version"], shown["floors"], shown["epochs"]) == (2, {"demo": 7}, {"demo": 1})
    assert shown["missing"] == [
        "0 of 1 root signers, by its own rules; still needed: 1 of r1",
        "0 of 2 root signers, by version 1's rules; still needed: 2 of r1, r2",
    ]


def test_a_rotation_reaches_the_site(desk: Desk) -> None:
    """A stolen key is revoked, a root signer changes; the site takes it over and says what it is now."""
    digest = desk.begin()
    desk.site("init", "--root-digest", digest, "stick")
    key = desk.ceremony.key("bob")
    desk.build("add", "trust", *desk.named("r4"), "--remove", "r3", "--revoke-key", key, "--revoke-bundle", "ab" * 32)
    desk.sign("r1", "r2")
    desk.build("export", "trust", "stick")

    shown = desk.data("update", "stick")

    assert shown["version"] == 2
    assert sorted(one["name"] for one in shown["signers"]) == ["alice", "r1", "r2", "r4"]
    assert shown["revoked_keys"] == [desk.ceremony.fingerprint("bob")]
    assert shown["revoked_bundles"] == ["ab" * 32]
    assert desk.data("show") == shown
    assert "nothing newer than trust 2" in desk.site("update", "stick").stdout


def test_a_new_site_begins_with_the_first_and_goes_on_to_the_newest(desk: Desk) -> None:
    """The card keeps its worth over rotations: init walks along at once. The digest may be typed in groups."""
    digest = desk.begin()
    desk.build("add", "trust", "--floor", "demo=7")
    desk.sign("r1", "r3")
    desk.build("export", "trust", "stick")
    typed = " ".join(digest[at : at + 8] for at in range(0, 64, 8)).upper()

    first, again = (desk.data("init", "--root-digest", typed, "stick") for _ in range(2))

    assert first == again
    assert first["version"] == 2


def test_another_digest_is_refused(desk: Desk) -> None:
    """A stick that is not the one of the card: exit status 75, under the rule's name, and nothing is kept."""
    desk.begin()

    done = desk.site("init", "--root-digest", "0" * 64, "stick", "--json", status=75)

    assert error(done)["error"] == "TrustRefused"
    assert desk.site("show", "--json", status=74).stdout == ""


def test_a_site_that_has_trust_begins_no_other(desk: Desk) -> None:
    """The root of a site cannot be exchanged by a command, even with the other one's digest."""
    desk.site("init", "--root-digest", desk.begin(), "stick")
    for name in ("trust", "stick"):
        shutil.rmtree(desk.here / name)
    desk.build("new", "trust", *desk.named("r4", "mallory"))
    desk.sign("r4")
    other = json.loads(desk.build("export", "trust", "stick", "--json"))["root_digest"]

    assert "trusts another first document" in desk.site("init", "--root-digest", other, "stick", status=75).stderr
    assert desk.site("update", "stick").returncode == 0
    assert "mallory" not in desk.site("show").stdout


def test_a_bad_document_stops_the_update(desk: Desk) -> None:
    """One byte changed: exit status 75 and the version before stays."""
    desk.site("init", "--root-digest", desk.begin(), "stick")
    desk.build("add", "trust", "--floor", "demo=7")
    desk.sign("r1", "r3")
    desk.build("export", "trust", "stick")
    policy = desk.here / "stick" / "trust-0002" / "policy.txt"
    policy.write_bytes(policy.read_bytes().replace(b"floor demo 7", b"floor demo 0"))

    done = desk.site("update", "stick", "--json", status=75)

    assert error(done)["message"] == "policy.txt is not what was signed"
    assert desk.data("show")["version"] == 1


def test_distrust_is_shown(desk: Desk) -> None:
    """A signer, a key by fingerprint or file, and a bundle are taken away, and the site says so from then on."""
    desk.site("init", "--root-digest", desk.begin(), "stick")
    bob, alice = (desk.ceremony.fingerprint(name) for name in ("bob", "alice"))

    desk.site("distrust", "signer", "bob", "--reason", "left")
    desk.site("distrust", "key", bob)
    desk.site("distrust", "key", f"{desk.ceremony.key('alice')}.pub")
    shown = desk.data("distrust", "bundle", "AB" * 32)

    assert shown["distrust"] == {"signers": ["bob"], "keys": sorted([alice, bob]), "bundles": ["ab" * 32]}
    assert f"distrusted here: key {bob}" in desk.site("show").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("new", "trust", "--root", "r1"), "must be NAME=KEY.pub"),
        (("new", "trust", "--root", "r1=none.pub"), "there is no key none.pub"),
        (("new", "old"), "has trust documents already"),
        (("add", "trust"), "has no trust document"),
        (("add", "old", "--remove", "nobody"), "no signer is called nobody"),
        (("add", "old", "--floor", "demo=x"), "must be BUNDLE=NUMBER"),
        (("add", "old", "--revoke-bundle", "12"), "is no SHA-256 digest"),
        (("sign", "old", "--key", "KEY", "--signer", "r2"), "is no root key of r2"),
        (("sign", "old", "--key", "KEY", "--signer", "../r1"), "is no signer"),
        (("show", "old", "--version", "2"), "has no trust document 2"),
        (("export", "trust", "stick"), "has no first trust document"),
        (("export", "old", "other"), "has another trust document"),
    ],
)
def test_mistakes_at_the_desk(desk: Desk, words: tuple[str, ...], message: str) -> None:
    """Each has a message of its own and exit status 2."""
    for place, name in (("old", "r1"), ("other", "r4")):
        desk.build("new", place, *desk.named(name, "alice"))
    key = str(desk.ceremony.key("r1"))

    done = desk.run("bundle-build", *(key if word == "KEY" else word for word in words), status=2)

    assert message in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("init", "--root-digest", "123", "stick"), 2, "all 64 hexadecimal digits"),
        (("init", "--root-digest", "0" * 64, "empty"), 2, "has no trust-0001"),
        (("init", "stick"), 2, "--root-digest"),
        (("update", "stick"), 74, "has no trust yet"),
        (("show",), 74, "has no trust yet"),
        (("distrust", "signer", "alice"), 74, "has no trust yet"),
        (("distrust", "key", "SHA256:short"), 2, "neither a fingerprint nor the file of a public key"),
        (("distrust", "bundle", "12"), 2, "is no SHA-256 digest"),
        (("distrust", "person", "alice"), 2, "signer"),
    ],
)
def test_mistakes_at_the_site(desk: Desk, words: tuple[str, ...], status: int, message: str) -> None:
    """Each has a message of its own, and the exit status of what is wrong."""
    for name in ("stick", "empty"):
        (desk.here / name).mkdir()

    assert message in desk.site(*words, status=status).stderr


def test_thresholds_that_cannot_be_reached_are_refused(desk: Desk) -> None:
    """Two of one: the document is not written."""
    done = desk.run("bundle-build", "new", "trust", *desk.named("r1", "alice"), "--threshold", "2", status=60)

    assert "2 of 1 bundle signers cannot be" in done.stderr
    assert not (desk.here / "trust").exists()

"""Rotations as people do them with ``bundle-build trust``, and media that do not fit what a site accepted."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler.bundle.layout import NAMESPACE, SUMS
from bundler.deploy.audit import AuditLog
from bundler.deploy.places import Places
from bundler.deploy.trust_store import TrustStore, read_container, versions_in
from bundler.errors import BundlerError, FormatError, TrustRefused, UsageError
from bundler.events import Event, ignore
from bundler.signing.chain import bootstrap
from bundler.signing.development import development_key
from bundler.workflows.trust import (
    Change,
    Named,
    Written,
    add_trust,
    export_development_trust,
    export_trust,
    look,
    new_trust,
    sign_trust,
)
from tests.trust.conftest import Ceremony, digest_of, put


class Team:
    """People who keep their trust documents in one directory."""

    def __init__(self, ceremony: Ceremony, directory: Path) -> None:
        self.ceremony, self.directory = ceremony, directory

    def named(self, *names: str) -> tuple[Named, ...]:
        """Return ``name=key`` or ``name`` with the key of that name."""
        pairs = (name.partition("=") for name in names)
        return tuple(Named(name=name, key=self.public(key or name)) for name, _, key in pairs)

    def public(self, key: str) -> Path:
        return self.ceremony.key(key).with_suffix(".pub")

    def begin(self, *roots: str, **changes: Any) -> Written:
        return new_trust(self.directory, Change(roots=self.named(*roots), signers=self.named("alice"), **changes))

    def sign(self, *names: str) -> Written:
        for name in names:
            signer, _, key = name.partition("=")
            written = sign_trust(self.directory, self.ceremony.key(key or signer), signer, terminal=False)
        return written

    def site(self, places: Places) -> TrustStore:
        """Return the store of a site that accepted the first document."""
        files = read_container(versions_in(self.directory)[1])
        store = TrustStore(places)
        store.init(files, digest_of(files))
        return store


@pytest.fixture
def team(ceremony: Ceremony, tmp_path: Path) -> Team:
    return Team(ceremony, tmp_path / "trust")


def refused(kind: type[BundlerError], act: Callable[[], object]) -> BundlerError:
    with pytest.raises(kind) as caught:
        act()
    return caught.value


def test_a_single_root_signer_changes_keys_in_one_step(team: Team, places: Places, medium: Path) -> None:
    """Old and new key of one person sign the same document: the second signature does not replace the first."""
    team.begin("r1")
    team.sign("r1")
    change = Change(roots=team.named("r1=r1b"), revoked_keys=(team.public("r1"),))

    assert add_trust(team.directory, change).missing
    written = team.sign("r1", "r1=r1b")
    export_trust(team.directory, medium)

    assert written.missing == ()
    assert team.site(places).update(medium) == (2,)
    assert {name for name in read_container(written.path) if name.endswith(".sig")} == {
        "SHA256SUMS.r1.sig", "SHA256SUMS.r1-2.sig",
    }  # fmt: skip


def test_signing_twice_with_one_key_makes_one_signature(team: Team) -> None:
    """A second run replaces the signature of the same key."""
    team.begin("r1")

    team.sign("r1")
    written = team.sign("r1")

    assert [name for name in read_container(written.path) if name.endswith(".sig")] == ["SHA256SUMS.r1.sig"]


def test_what_goes_back_is_refused_before_anybody_signs(team: Team) -> None:
    """A floor that falls is said when the document is made, not when the last person has signed it."""
    team.begin("r1", floors={"demo": 5})
    team.sign("r1")

    error = refused(TrustRefused, lambda: add_trust(team.directory, Change(floors={"demo": 4})))

    assert "floor of demo: falls from 5 to 4" in error.message
    assert sorted(versions_in(team.directory)) == [1]


def test_a_draft_goes_back_behind_nothing_either(team: Team) -> None:
    """A document that is changed before it is complete is still held against the one before it."""
    team.begin("r1", floors={"demo": 5})
    team.sign("r1")
    add_trust(team.directory, Change(floors={"demo": 7}))

    assert add_trust(team.directory, Change(floors={"demo": 6})).document.floors == {"demo": 6}
    refused(TrustRefused, lambda: add_trust(team.directory, Change(floors={"demo": 4})))


def test_nothing_is_exported_unless_all_of_it_holds(team: Team, medium: Path) -> None:
    """A chain whose newest document lacks a signature leaves the medium as it was."""
    team.begin("r1")
    team.sign("r1")
    add_trust(team.directory, Change(signers=team.named("bob")))

    error = refused(TrustRefused, lambda: export_trust(team.directory, medium))

    assert "0 of 1 root signers" in error.message
    assert not list(medium.iterdir())


def test_trust_is_not_exported_into_a_bundle(team: Team, medium: Path) -> None:
    """The directory of a bundle is refused: a file that it does not list would make the bundle invalid."""
    team.begin("r1")
    team.sign("r1")
    (medium / SUMS).write_text("a bundle\n")

    refused(UsageError, lambda: export_trust(team.directory, medium))

    assert [path.name for path in medium.iterdir()] == [SUMS]


def test_export_does_not_replace_another_document_of_any_version(team: Team, medium: Path) -> None:
    """A medium whose second document is another one is left alone: somewhere a site may have accepted that one."""
    team.begin("r1")
    team.sign("r1")
    add_trust(team.directory, Change(signers=team.named("bob")))
    team.sign("r1")
    export_trust(team.directory, medium)
    shutil.rmtree(versions_in(team.directory)[2])
    add_trust(team.directory, Change(signers=team.named("mallory")))
    team.sign("r1")

    refused(UsageError, lambda: export_trust(team.directory, medium))

    assert b"mallory" not in read_container(versions_in(medium)[2])["trust.json"]


@pytest.mark.parametrize(("people", "root", "bundle"), [("r1", 1, 1), ("r1 r2", 1, 1), ("r1 r2 r3", 2, 1)])
def test_a_small_team_gets_thresholds_that_bear_one_loss_and_one_theft(
    team: Team, people: str, root: int, bundle: int
) -> None:
    """Two of three root signers, if there are three; one signer of one is allowed."""
    written = team.begin(*people.split())

    assert (written.document.root_threshold, written.document.bundle_threshold) == (root, bundle)


def test_two_people_sign_a_bundle_where_there_are_two(team: Team) -> None:
    """With two signers or more, one alone does not do; whoever wants that says so."""
    two = Change(roots=team.named("r1"), signers=team.named("alice", "bob"))

    assert new_trust(team.directory, two).document.bundle_threshold == 2
    shutil.rmtree(team.directory)
    assert new_trust(team.directory, Change(**{**vars(two), "bundle_threshold": 1})).document.bundle_threshold == 1


def test_another_document_of_an_accepted_version_is_reported(team: Team, places: Places, medium: Path) -> None:
    """Two documents of one version, both well signed: the site keeps its own, refuses the medium, and logs it."""
    ceremony = team.ceremony
    first = ceremony.files(ceremony.document())
    store = TrustStore(places)
    store.init(first, digest_of(first))
    put(medium, 1, first)
    put(medium, 2, ceremony.files(ceremony.document(2)))
    store.update(medium)
    shutil.rmtree(medium / "trust-0002")
    put(medium, 2, ceremony.files(ceremony.document(2, floors={"demo": 1})))
    put(medium, 3, ceremony.files(ceremony.document(3, floors={"demo": 1})))

    error = refused(TrustRefused, lambda: store.update(medium))

    assert "trust 2 on the medium is not the one" in error.message
    assert "a quorum signed both" in error.message
    assert store.current().document.version == 2
    assert [record.event for record in AuditLog(places.log).records()][-1] == "trust refused"


def test_more_signatures_do_not_make_another_document(team: Team, places: Places, medium: Path) -> None:
    """Only the list is compared: a third root signer may sign later."""
    ceremony = team.ceremony
    files = ceremony.files(ceremony.document())
    store = TrustStore(places)
    store.init(files, digest_of(files))
    put(medium, 1, files | ceremony.signatures(files[SUMS], "r3"))

    assert store.update(medium) == ()


def test_a_site_that_lost_its_first_document_does_not_begin_anew(team: Team, places: Places) -> None:
    """Where later documents lie without the first, another chain cannot slip in beside them."""
    ceremony = team.ceremony
    put(places.trust, 2, ceremony.files(ceremony.document(2)))
    files = ceremony.files(ceremony.document(floors={"other": 1}))

    refused(TrustRefused, lambda: TrustStore(places).init(files, digest_of(files)))

    assert sorted(versions_in(places.trust)) == [2]


def test_a_document_in_the_place_of_another_is_noticed(team: Team, places: Places) -> None:
    """A directory of the site that holds another version than its name says is refused."""
    ceremony = team.ceremony
    put(places.trust, 7, ceremony.files(ceremony.document()))

    assert "holds version 1" in refused(TrustRefused, TrustStore(places).current).message


def test_a_first_document_is_the_first(team: Team) -> None:
    """Even the right digest does not make version 2 a beginning: those before it would be missing on repo hosts."""
    ceremony = team.ceremony
    files = ceremony.files(ceremony.document(2))

    assert "has version 2" in refused(TrustRefused, lambda: bootstrap(files, digest_of(files))).message


@pytest.mark.parametrize(
    ("name", "size", "kind"),
    [
        (".DS_Store", 1, TrustRefused),
        ("verify.sh", 1, TrustRefused),
        ("SHA256SUMS.r1.sig", 8193, FormatError),
        ("trust.json", 2**20 + 1, FormatError),
        (SUMS, 2**20 + 1, FormatError),
    ],
)
def test_what_does_not_belong_there_is_not_read(medium: Path, name: str, size: int, kind: type[BundlerError]) -> None:
    """Names that a trust document cannot have are refused unread; others have a size that they cannot exceed."""
    (medium / name).write_bytes(bytes(size))

    assert name in refused(kind, lambda: read_container(medium)).message


def test_a_digest_on_a_medium_is_of_the_list_alone(team: Team, medium: Path) -> None:
    """What export prints for the card is the SHA-256 of trust-0001/SHA256SUMS, as sha256sum shows it."""
    team.begin("r1")
    team.sign("r1")

    written = export_trust(team.directory, medium)

    assert written.digest == hashlib.sha256((medium / "trust-0001" / SUMS).read_bytes()).hexdigest()
    assert look(team.directory).missing == ()


@pytest.mark.parametrize("what", ["empty", "litter", "too few", "strangers"])
def test_what_no_quorum_signed_is_passed_over_with_a_word(
    team: Team, places: Places, medium: Path, what: str
) -> None:
    """In the place of an accepted version anything else is said and not used: a stick of others stops nobody."""
    ceremony = team.ceremony
    first = ceremony.files(ceremony.document())
    store = TrustStore(places)
    store.init(first, digest_of(first))
    put(medium, 2, ceremony.files(ceremony.document(2)))
    store.update(medium)
    shutil.rmtree(medium / "trust-0002")
    other = ceremony.document(2, "r3 r4 r5", floors={"demo": 9})
    put(medium, 2, {
        "empty": {}, "litter": {".DS_Store": b""}, "too few": ceremony.files(other, "r1 r4"),
        "strangers": ceremony.files(other, "r4 r5"),
    }[what])  # fmt: skip
    said: list[Event] = []

    assert store.update(medium, said.append) == ()

    assert ["trust 2 on the medium is not" in str(event) for event in said] == [True]
    assert store.current().document.floors == {}


def test_the_development_key_can_be_trusted_at_a_site(places: Places, medium: Path, tmp_path: Path) -> None:
    """A document that a site can begin with lies beside the bundle; a second build changes nothing."""
    key = development_key(tmp_path / "config", NAMESPACE, ignore)

    digest = export_development_trust(key, medium)
    again = export_development_trust(key, medium)

    assert again == digest
    TrustStore(places).init(read_container(medium / "trust-0001"), digest)
    assert [signer.principal for signer in TrustStore(places).policy().signers] == ["development"]


def test_the_development_key_stays_out_of_the_trust_of_others(team: Team, medium: Path, tmp_path: Path) -> None:
    """Where a team's documents lie, a build with the development key leaves them and gives no digest."""
    team.begin("r1")
    team.sign("r1")
    export_trust(team.directory, medium)
    before = read_container(medium / "trust-0001")

    digest = export_development_trust(development_key(tmp_path / "config", NAMESPACE, ignore), medium)

    assert digest == ""
    assert read_container(medium / "trust-0001") == before

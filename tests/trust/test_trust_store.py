"""The trust of a site on its disk: begun by a digest, walked forward from media, only ever lessened by the site."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.bundle.layout import SUMS
from bundler.deploy.audit import AuditLog
from bundler.deploy.places import Places
from bundler.deploy.trust_store import TrustStore
from bundler.errors import BundlerError, FormatError, TrustMissing, TrustRefused, UsageError
from bundler.events import Event, Noted, Warned
from bundler.model.trust import POLICY, Distrust, trust_directory
from tests.trust.conftest import Ceremony, digest_of, put


@pytest.fixture
def store(places: Places, ceremony: Ceremony) -> TrustStore:
    """Return the trust of a site that took the first document."""
    files = ceremony.files(ceremony.document())
    found = TrustStore(places)
    found.init(files, digest_of(files))
    return found


def logged(places: Places) -> list[str]:
    return [record.event for record in AuditLog(places.log).records()]


def test_without_trust_nothing_is_answered(places: Places) -> None:
    """A site that was never told whom to trust says so, and how to begin."""
    with pytest.raises(TrustMissing) as caught:
        TrustStore(places).current()

    assert caught.value.exit_code == 74
    assert "trust init" in caught.value.hint


def test_beginning_twice_changes_nothing(places: Places, ceremony: Ceremony, store: TrustStore) -> None:
    """The same document again is fine and not logged again; another one is refused, and the old one stays."""
    first = ceremony.files(ceremony.document())
    other = ceremony.files(ceremony.document(floors={"demo": 1}))

    again = store.init(first, digest_of(first))

    assert again == store.current()
    assert logged(places) == ["trust initialised"]
    with pytest.raises(TrustRefused, match="trusts another first document"):
        store.init(other, digest_of(other))
    assert store.current().digest == digest_of(first)


def test_a_later_document_is_no_beginning(places: Places, ceremony: Ceremony) -> None:
    """Only version 1 can be the first."""
    files = ceremony.files(ceremony.document(2))

    with pytest.raises(TrustRefused):
        TrustStore(places).init(files, digest_of(files))
    assert not places.trust.exists()


def test_a_site_three_rotations_behind_walks_forward(
    places: Places, ceremony: Ceremony, store: TrustStore, medium: Path
) -> None:
    """Every version travels on the medium; each is taken by the one before, kept, logged and said."""
    put(medium, 1, ceremony.files(ceremony.document()))
    put(medium, 2, ceremony.files(ceremony.document(2, "r2 r3 r4"), "r1 r2 r4"))
    put(medium, 3, ceremony.files(ceremony.document(3, "r4 r5"), "r2 r4 r5"))
    put(medium, 4, ceremony.files(ceremony.document(4, "r5", root_threshold=1), "r4 r5"))
    events: list[Event] = []

    assert store.update(medium, events.append) == (2, 3, 4)

    assert store.current().document.version == 4
    assert [version for version, _ in store.containers()] == [1, 2, 3, 4]
    assert logged(places)[1:] == ["trust updated"] * 3
    assert sum(isinstance(event, Noted) for event in events) == 3
    assert store.update(medium) == ()


def test_trust_beside_a_bundle_is_found(
    ceremony: Ceremony, store: TrustStore, medium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle's directory, its tar, where one stands, and a container lead to the documents beside them."""
    put(medium, 2, ceremony.files(ceremony.document(2)))
    bundle = medium / "demo-1-1"
    bundle.mkdir()
    (bundle / SUMS).touch()
    (medium / "demo-1-1.tar").touch()
    monkeypatch.chdir(bundle)

    for path in (medium, bundle, medium / "demo-1-1.tar", Path(), medium / "trust-0002"):
        assert list(store.available(path)) == [2], path


def test_the_walk_stops_at_a_bad_document_and_keeps_the_last_good(
    ceremony: Ceremony, store: TrustStore, medium: Path
) -> None:
    """What does not follow ends the walk with its error; the versions before it count from then on."""
    put(medium, 2, ceremony.files(ceremony.document(2)))
    put(medium, 3, ceremony.files(ceremony.document(3), "r1"))
    put(medium, 4, ceremony.files(ceremony.document(4)))

    with pytest.raises(TrustRefused, match="1 of 2 root signers"):
        store.update(medium)

    assert store.current().document.version == 2


def test_a_gap_is_said(ceremony: Ceremony, store: TrustStore, medium: Path) -> None:
    """A version that cannot be reached is a warning that names the missing one."""
    put(medium, 3, ceremony.files(ceremony.document(3)))
    events: list[Event] = []

    assert store.update(medium, events.append) == ()

    (warning,) = [event for event in events if isinstance(event, Warned)]
    assert "2 is missing" in warning.message


def test_a_repeated_version_is_not_looked_at(ceremony: Ceremony, store: TrustStore, medium: Path) -> None:
    """Another document of a version that was taken already changes nothing, whoever signed it."""
    before = store.current()
    put(medium, 1, ceremony.files(ceremony.document(roots="r4 r5"), "r4 r5"))

    assert store.update(medium) == ()

    assert store.current() == before


def large(path: Path) -> None:
    """Make five gigabytes of zeros."""
    path.touch()
    os.truncate(path, 5 << 30)


def many(path: Path) -> None:
    """Make a thousand signatures."""
    for number in range(1000):
        path.with_name(f"SHA256SUMS.s{number}.sig").touch()


def device(path: Path) -> None:
    """Make the device /dev/zero, or skip where that may not be."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("making a device needs root")


#: What is in the place of a file, and the exit code.
HOSTILE: dict[str, tuple[Callable[[Path], object], int]] = {
    "link": (lambda path: path.symlink_to("/dev/zero"), 66),
    "pipe": (os.mkfifo, 66),
    "directory": (Path.mkdir, 66),
    "device": (device, 66),
    "large": (large, 60),
    "many": (many, 75),
    "bad name": (lambda path: path.with_name("SHA256SUMS.Évil.sig").touch(), 75),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_container_of_anything_but_small_files_is_refused(
    ceremony: Ceremony, store: TrustStore, medium: Path, what: str
) -> None:
    """Links, pipes, devices, five gigabytes of zeros, a thousand files: refused at once, nothing is kept."""
    make, code = HOSTILE[what]
    place = put(medium, 2, ceremony.files(ceremony.document(2))) / POLICY
    place.unlink()
    make(place)

    with pytest.raises(BundlerError) as caught:
        store.update(medium)

    assert caught.value.exit_code == code
    assert store.current().document.version == 1


@pytest.mark.parametrize("what", ["link", "file", "pipe", "long", "zero"])
def test_what_is_no_directory_of_a_version_is_none(
    ceremony: Ceremony, store: TrustStore, medium: Path, tmp_path: Path, what: str
) -> None:
    """A link to a container elsewhere, a file, a pipe and other names are passed over."""
    good = put(tmp_path / "elsewhere", 2, ceremony.files(ceremony.document(2)))
    place = medium / trust_directory(2)
    made: dict[str, Callable[[], object]] = {
        "link": lambda: place.symlink_to(good),
        "file": place.touch,
        "pipe": lambda: os.mkfifo(place),
        "long": lambda: shutil.copytree(good, medium / "trust-00002"),
        "zero": lambda: shutil.copytree(good, medium / "trust-0000"),
    }
    made[what]()

    assert store.update(medium) == ()


def test_the_sites_own_copy_is_checked_when_it_is_read(places: Places, store: TrustStore) -> None:
    """A file that was edited below the state directory is noticed, not used."""
    edited = places.trust / "trust-0001" / POLICY
    edited.write_bytes(edited.read_bytes().replace(b"bundle 2", b"bundle 1"))

    with pytest.raises(TrustRefused, match=r"policy\.txt is not what was signed"):
        store.current()


def test_distrust_adds_up(places: Places, ceremony: Ceremony, store: TrustStore) -> None:
    """Each call takes more away, none gives back; all of it is logged with its reason."""
    store.add_distrust(Distrust(signers=("bob",)), "left")
    store.add_distrust(Distrust(keys=(ceremony.fingerprint("r1"),)))
    trust = store.add_distrust(Distrust(bundles=("ab" * 32,)))

    assert trust.distrust == Distrust(signers=("bob",), keys=(ceremony.fingerprint("r1"),), bundles=("ab" * 32,))
    assert logged(places)[1:] == ["distrust"] * 3
    with pytest.raises(TrustRefused, match="still trusted here: alice"):
        store.policy()


def test_a_stranger_cannot_be_distrusted_by_name(store: TrustStore) -> None:
    """A name that is written wrongly is an error: it would leave the person trusted."""
    with pytest.raises(UsageError, match="no signer is called bbo"):
        store.add_distrust(Distrust(signers=("bbo",)))


def test_a_slip_in_the_file_of_distrust_is_an_error(places: Places, store: TrustStore) -> None:
    """Whoever edits the file wrongly is told; nothing is trusted by mistake."""
    places.distrust.write_text(json.dumps({"signers": [], "keys": ["SHA256:short"], "bundles": []}))

    with pytest.raises(FormatError, match=r"keys\[0\]"):
        store.current()


def test_a_distrusted_root_key_walks_no_further(ceremony: Ceremony, store: TrustStore, medium: Path) -> None:
    """After a root key was stolen and told by phone, documents by it and one other are no longer taken."""
    store.add_distrust(Distrust(keys=(ceremony.fingerprint("r2"),)))
    put(medium, 2, ceremony.files(ceremony.document(2), "r1 r2"))

    with pytest.raises(TrustRefused, match="1 of 2"):
        store.update(medium)
    shutil.rmtree(medium / "trust-0002")
    put(medium, 2, ceremony.files(ceremony.document(2), "r1 r3"))
    assert store.update(medium) == (2,)


def test_a_quorum_that_was_left_too_small_installs_nothing(
    ceremony: Ceremony, store: TrustStore, medium: Path
) -> None:
    """The threshold stays as it is until the root signers lower it."""
    store.add_distrust(Distrust(signers=("bob",)))
    put(medium, 2, ceremony.files(ceremony.document(2, bundle_threshold=1)))

    with pytest.raises(TrustRefused):
        store.policy()
    store.update(medium)
    assert [one.principal for one in store.policy().signers] == ["alice"]

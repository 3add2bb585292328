"""What a medium can do to a site (reference: the attack table of docs/explanation/trust.md): each is refused by name.

Each refusal is logged, has its own exit code, and leaves nothing of the refused file in staging.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler.archive.compress import compress_frame
from bundler.bundle.reader import open_bundle
from bundler.deploy.state import record_bundle
from bundler.errors import IntegrityError
from bundler.model.site import Limits
from bundler.model.sums import format_sums, parse_sums
from bundler.signing import sshkeygen
from tests.bundles import DEBIAN, UBUNTU, Keys
from tests.intake.conftest import SiteBench

VOLUME = f"{DEBIAN}-001.tar.zst"
SIGNATURE = "SHA256SUMS.alice.sig"
#: One of each kind of file that a bundle has.
KINDS = (
    "SHA256SUMS", SIGNATURE, "bundle.json", "common-001.tar.zst", VOLUME, f"{UBUNTU}-001.tar.zst", "evidence.tar.zst",
    "bundle-install", "verify.sh", "README.txt", f"files-{DEBIAN}.sha256", f"assemble-{UBUNTU}.tsv",
)  # fmt: skip
SEQUENCE = 1795123456
LINE = "demo-2026.1"


def make_socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


def make_device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("making a device needs root")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))


IRREGULAR: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "symbolic link": lambda path: path.symlink_to("/dev/zero"),
    "device": make_device,
    "directory": Path.mkdir,
    "socket": make_socket,
}


@pytest.mark.parametrize("what", IRREGULAR)
def test_what_is_no_regular_file_is_refused_unopened(bundle: Path, plant: SiteBench, what: str) -> None:
    """A pipe, link, device, directory or socket in the place of any file is named and neither waited for nor read."""
    for name in KINDS:
        original = (bundle / name).read_bytes()
        (bundle / name).unlink()
        IRREGULAR[what](bundle / name)

        error = plant.refusal(bundle)

        assert (error.rule, error.exit_code) == ("FileIrregular", 66), name
        assert name in error.message
        assert what in error.message
        assert plant.staged() == {}
        (bundle / name).rmdir() if what == "directory" else (bundle / name).unlink()
        (bundle / name).write_bytes(original)


ZEROS = {
    "SHA256SUMS": 60, SIGNATURE: 60, "bundle.json": 60, VOLUME: 61, "evidence.tar.zst": 61, "bundle-install": 61,
    "README.txt": 61, f"blobs-{DEBIAN}.sha256": 61,
}  # fmt: skip


@pytest.mark.parametrize("name", ZEROS)
@pytest.mark.parametrize("copy", [True, False])
def test_five_gigabytes_of_zeros_are_not_read(bundle: Path, plant: SiteBench, name: str, *, copy: bool) -> None:
    """A file that is larger than it may be is refused by its size: it is not read, and nothing of it written."""
    os.truncate(bundle / name, 5_000_000_000)

    error = plant.refusal(bundle, copy=copy)

    assert error.exit_code == ZEROS[name]
    assert name in error.message
    assert name not in plant.staged()


def flip(path: Path, position: int = 100) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def relist(bundle: Path, keys: Keys, *names: str) -> None:
    """Make list and signature fit changed files, as a signer who means harm would."""
    sums = parse_sums((bundle / "SHA256SUMS").read_bytes())
    sums |= {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in names}
    (bundle / "SHA256SUMS").write_bytes(format_sums(sums))
    keys.sign(bundle, "alice")


CHANGED: dict[str, tuple[Callable[[Path], object], str, int, str]] = {
    "a bit of a volume": (lambda b: flip(b / VOLUME), "IntegrityError", 61, VOLUME),
    "a bit of a common volume": (lambda b: flip(b / "common-001.tar.zst"), "IntegrityError", 61, "common-001"),
    "a bit of bundle.json": (lambda b: flip(b / "bundle.json"), "IntegrityError", 61, "bundle.json"),
    "a bit of the installer": (lambda b: flip(b / "bundle-install", 3), "IntegrityError", 61, "bundle-install"),
    "a bit of the list": (lambda b: flip(b / "SHA256SUMS"), "SignatureRefused", 70, "does not fit"),
    "a bit of the signature": (lambda b: flip(b / SIGNATURE), "SignatureRefused", 70, SIGNATURE),
    "a volume cut off": (lambda b: os.truncate(b / VOLUME, 4000), "IntegrityError", 61, "cut off"),
    "the evidence cut off": (lambda b: os.truncate(b / "evidence.tar.zst", 9), "IntegrityError", 61, "evidence"),
    "an unlisted wheel": (lambda b: (b / "evil-1-py3-none-any.whl").touch(), "FileUnlisted", 65, "evil"),
    "an unlisted volume": (lambda b: (b / "evil-001.tar.zst").touch(), "FileUnlisted", 65, "evil"),
    "no volume": (lambda b: (b / VOLUME).unlink(), "FileMissing", 64, VOLUME),
    "no table": (lambda b: (b / f"files-{DEBIAN}.sha256").unlink(), "FileMissing", 64, "files-"),
    "no verify.sh": (lambda b: (b / "verify.sh").unlink(), "FileMissing", 64, "verify.sh"),
    "no list": (lambda b: (b / "SHA256SUMS").unlink(), "FileMissing", 64, "SHA256SUMS"),
    "no signature": (lambda b: (b / SIGNATURE).unlink(), "SignatureRefused", 70, "no signature"),
}


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_medium_is_refused(bundle: Path, plant: SiteBench, what: str, *, copy: bool) -> None:
    """Flipped bits, cut off files, files too many or too few: each has its rule, copied or only read."""
    change, rule, code, words = CHANGED[what]
    good = {entry.name: entry.read_bytes() for entry in bundle.iterdir()}
    change(bundle)

    error = plant.refusal(bundle, copy=copy)

    assert (error.rule, error.exit_code) == (rule, code)
    assert words in error.message
    assert plant.staged().items() <= good.items()


def test_parts_of_two_good_bundles_do_not_mix(
    bundle: Path, plant: SiteBench, keys: Keys, make_bundle: Any, sampler: Any
) -> None:
    """A volume, or a list with its signature, from another well-signed bundle fits nothing here."""
    other = make_bundle("other", sampler(2))
    keys.sign(other, "alice")
    mixed = shutil.copytree(bundle, bundle.with_name("mixed"))
    shutil.copy(other / VOLUME, mixed / VOLUME)
    assert plant.refusal(mixed).exit_code == 61
    for name in ("SHA256SUMS", SIGNATURE):
        shutil.copy(other / name, bundle / name)

    assert plant.refusal(bundle).exit_code == 61


def accept(plant: SiteBench, **changes: Any) -> None:
    """Let the site have accepted a bundle before."""
    facts = {"epoch": 0, "sequence": SEQUENCE, "digest": "ab" * 32, "floor": 0, "created": SEQUENCE}
    record_bundle(plant.places, line=LINE, **{**facts, **changes})


def test_an_older_bundle_is_refused(bundle: Path, plant: SiteBench) -> None:
    """Once a newer sequence of the same name and version was accepted, an older one is a rollback."""
    accept(plant, sequence=SEQUENCE + 1)

    error = plant.refusal(bundle)

    assert (error.rule, error.exit_code) == ("SequenceRefused", 76)
    assert plant.staged() == {}


def test_the_same_sequence_with_other_content_is_refused(bundle: Path, plant: SiteBench) -> None:
    """Two bundles of one number mean that somebody signed twice; neither is guessed to be right."""
    accept(plant)

    error = plant.refusal(bundle)

    assert (error.rule, error.exit_code) == ("EquivocationRefused", 77)


def test_a_bundle_below_the_sites_floor_is_refused(bundle: Path, plant: SiteBench) -> None:
    """A floor that an accepted bundle raised holds for all that come later."""
    accept(plant, sequence=1, floor=SEQUENCE + 1)

    assert plant.refusal(bundle).rule == "SequenceRefused"


def test_a_trust_document_on_the_medium_counts_for_the_bundle_beside_it(bundle: Path, plant: SiteBench) -> None:
    """Trust is updated first: what it revokes, or lifts the floor over, is refused on the very same medium."""
    stick = bundle.with_name("stick")
    stick.mkdir()
    bundle = bundle.rename(stick / "demo")
    plant.update(stick, floors={"demo": SEQUENCE + 1})

    error = plant.refusal(stick)

    assert (error.rule, error.exit_code) == ("SequenceRefused", 76)
    assert "trust document's floor" in error.message


def test_a_revoked_bundle_is_refused(bundle: Path, plant: SiteBench) -> None:
    """A bundle whose digest the trust document names is refused however well it is signed."""
    plant.trust(revoked_bundles=(hashlib.sha256((bundle / "SHA256SUMS").read_bytes()).hexdigest(),))

    error = plant.refusal(bundle)

    assert (error.rule, error.exit_code) == ("BundleRevoked", 78)


def test_a_revoked_key_does_not_count(bundle: Path, plant: SiteBench, keys: Keys) -> None:
    """A signature by a key that the trust document revokes is no signature."""
    plant.trust(revoked_keys=(str(sshkeygen.public_key(keys.key("alice"))),))

    error = plant.refusal(bundle)

    assert (error.rule, error.exit_code) == ("SignatureRefused", 70)


SIGNED: dict[str, list[tuple[str, str, str]]] = {
    "one of two": [("alice", "alice", "bundle@offline")],
    "one person twice, under two names": [("alice", "alice", "bundle@offline"), ("alice", "bob", "bundle@offline")],
    "one person twice, with two keys": [("alice", "alice", "bundle@offline"), ("alice-2", "bob", "bundle@offline")],
    "a stranger": [("alice", "alice", "bundle@offline"), ("mallory", "bob", "bundle@offline")],
    "another namespace": [("alice", "alice", "bundle@offline"), ("bob", "bob", "trust@offline")],
}


@pytest.mark.parametrize("what", SIGNED)
def test_too_few_signers_are_refused(make_bundle: Any, plant: SiteBench, keys: Keys, what: str) -> None:
    """Where two must sign, two distinct trusted people must, each for bundles."""
    plant.trust(bundle_threshold=2)
    bundle = make_bundle()
    for key, name, namespace in SIGNED[what]:
        keys.sign(bundle, key, as_name=name, namespace=namespace)

    error = plant.refusal(bundle)

    assert (error.rule, error.exit_code) == ("SignatureRefused", 70)
    keys.sign(bundle, "bob")
    assert plant.take(bundle).verified.quorum.signers == ("alice", "bob")


def test_a_bundle_for_other_targets_is_refused_before_it_is_copied(bundle: Path, plant: SiteBench) -> None:
    """A bundle with nothing for the site's targets is not worth a copy."""
    plant.targets = ("rocky-9-x86_64",)

    error = plant.refusal(bundle)

    assert (error.rule, error.exit_code) == ("TargetRefused", 68)
    assert plant.staged() == {}


def test_a_bundle_that_is_too_old_is_refused_where_the_site_says_so(
    bundle: Path, plant: SiteBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a site that sets an age asks the clock."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(SEQUENCE + 90 * 86_400))
    plant.limits = Limits(max_age_days=30)

    error = plant.refusal(bundle)

    assert (error.rule, error.exit_code) == ("PolicyRefused", 72)


@pytest.mark.parametrize("path", ["../../etc/cron.d/evil", "/etc/passwd", "os-releases/../../x", "a\\u0000b", "a//b"])
def test_a_path_that_leads_elsewhere_is_refused_however_well_it_is_signed(
    bundle: Path, plant: SiteBench, keys: Keys, path: str
) -> None:
    """bundle.json may name only plain relative paths, whoever signed it."""
    text = (bundle / "bundle.json").read_text()
    (bundle / "bundle.json").write_text(text.replace("constraints/upper_constraints_abc.txt", path))
    relist(bundle, keys, "bundle.json")

    error = plant.refusal(bundle)

    assert (error.rule, error.exit_code) == ("FormatError", 60)


def test_a_zstd_bomb_is_never_decoded(
    make_bundle: Any, plant: SiteBench, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blob whose frame decodes to more than its signed size is refused by its header, deep or when it is read."""
    size = 1 << 26
    bomb = b"".join(compress_frame([bytes(size)], size, 1))
    monkeypatch.setattr("bundler.bundle.volumes._frame", lambda *_: iter([bomb]))
    bundle = make_bundle()
    keys.sign(bundle, "alice")

    taken = plant.take(bundle)

    assert taken.path is not None
    with open_bundle(taken.path) as opened:
        for blob in opened.contents.volumes[0].blobs:
            with pytest.raises(IntegrityError, match="promises"):
                next(opened.stream_blob(blob.sha256))
    with pytest.raises(IntegrityError, match="promises"):
        plant.take(bundle, deep=True)


def test_what_a_site_no_longer_trusts_by_itself_is_refused(bundle: Path, plant: SiteBench, keys: Keys) -> None:
    """What the site distrusts counts as if the trust document said so."""
    plant.distrust(bundles=(hashlib.sha256((bundle / "SHA256SUMS").read_bytes()).hexdigest(),))

    assert plant.refusal(bundle).rule == "BundleRevoked"

"""Receipts: made from the log, signed with the host's key, checked on the connected side."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bundler.cli.build import group as build
from bundler.cli.context import Output
from bundler.cli.install import group as install
from bundler.deploy.audit import AuditLog
from bundler.deploy.places import Places
from bundler.deploy.receipts import known_hosts_state, make_receipt, trust_version
from bundler.deploy.state import record_bundle
from bundler.errors import FormatError, SignatureRefused, SigningFailed, StoreError, UsageError
from bundler.model.site_receipt import HeldBundle, format_receipt, parse_receipt
from bundler.workflows.receipt import ReceiptCheck, check_receipt
from bundler.workflows.site.receipt import ReceiptRequest, write_receipt

DIGEST = "d" * 64


def log(places: Places, event: str, host: str, bundle: str, **facts: object) -> None:
    AuditLog(places.log).append(event, {"host": host, "bundle": bundle, "digest": DIGEST, **facts})


def state(places: Places) -> dict[str, tuple[list[str], list[str]]]:
    return {
        host.name: ([one.bundle for one in host.active], [one.bundle for one in host.staged])
        for host in known_hosts_state(places)
    }


@pytest.fixture
def receipt(places: Places, host_key: Path) -> Path:
    """Return a receipt of a site with one release on one host."""
    record_bundle(places, line="a-1", epoch=0, sequence=5, digest=DIGEST, floor=0, created=7)
    log(places, "staged", "repo1", "a-1-5")
    log(places, "activated", "repo1", "a-1-5")
    return write_receipt(ReceiptRequest(places=places, key=host_key)).files[0]


@pytest.fixture
def known(tmp_path: Path, host_key: Path) -> Path:
    path = tmp_path / "known"
    path.write_text(f"deploy7 {host_key.with_suffix('.pub').read_text()}")
    return path


def test_the_log_tells_what_each_host_has(places: Places) -> None:
    """Staged, activated, activated again: the older release is held beside the active one."""
    for bundle in ("a-1-5", "a-1-6"):
        log(places, "staged", "repo1", bundle)
        log(places, "activated", "repo1", bundle)
    log(places, "staged", "repo1", "a-1-7")
    log(places, "activated", "repo2", "b-1-1")

    assert state(places) == {"repo1": (["a-1-6"], ["a-1-5", "a-1-7"]), "repo2": (["b-1-1"], [])}


def test_going_back_and_pruning_are_followed(places: Places) -> None:
    """A rollback changes places; what was pruned is gone."""
    for bundle in ("a-1-4", "a-1-5", "a-1-6"):
        log(places, "activated", "repo1", bundle)
    log(places, "rolled back", "repo1", "a-1-5", previous="a-1-6")
    AuditLog(places.log).append("pruned", {"host": "repo1", "bundles": ["a-1-4"]})

    assert state(places) == {"repo1": (["a-1-5"], ["a-1-6"])}


@pytest.mark.parametrize(("active", "expected"), [("a-1-5", ["a-1-5"]), ("", [])])
def test_an_apply_that_went_back_counts_as_what_is_active(places: Places, active: str, expected: list[str]) -> None:
    """The fact ``active`` leads where an event has it."""
    log(places, "activated", "repo1", "a-1-5")
    log(places, "activated", "repo1", "a-1-6")
    log(places, "rolled back", "repo1", "a-1-6", active=active)

    assert state(places)["repo1"][0] == expected


def test_lines_of_one_host_are_active_side_by_side(places: Places) -> None:
    """Each name and version has its own active release."""
    log(places, "activated", "repo1", "a-1-5")
    log(places, "activated", "repo1", "a-2-1")

    assert state(places) == {"repo1": (["a-1-5", "a-2-1"], [])}


def test_a_receipt_says_what_the_site_has(places: Places, receipt: Path) -> None:
    """Hosts, sequences and the log's head at that time."""
    found = parse_receipt(receipt.read_bytes(), "receipt")

    assert (found.site, found.records, found.trust_version) == ("plant-7", 3, 0)
    assert [held.bundle for held in found.hosts[0].active] == ["a-1-5"]
    assert found.sequences["a-1"].sequence == 5
    assert [record.event for record in AuditLog(places.log).records()][-1] == "receipt"


def test_the_newest_accepted_trust_document_is_named(places: Places) -> None:
    """What is unfinished or no document does not count."""
    for name in ("trust-0001", "trust-0012"):
        (places.trust / name).mkdir(parents=True)
        (places.trust / name / "trust.json").touch()
    (places.trust / "trust-0013").mkdir()

    assert trust_version(places) == 12


def test_a_receipt_is_read_as_it_was_written(places: Places, receipt: Path) -> None:
    """Both directions agree."""
    data = receipt.read_bytes()

    assert format_receipt(parse_receipt(data, "receipt")) == data


def test_stock_tools_accept_the_signature(receipt: Path, host_key: Path, tmp_path: Path) -> None:
    """ssh-keygen -Y verify with the namespace receipt@offline."""
    allowed = tmp_path / "allowed"
    allowed.write_text(f'plant-7 namespaces="receipt@offline" {host_key.with_suffix(".pub").read_text()}')

    done = subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", "plant-7", "-n", "receipt@offline",
         "-s", f"{receipt}.sig"],
        input=receipt.read_bytes(), capture_output=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert check_receipt(ReceiptCheck(receipt=receipt, allowed_signers=allowed)).signer == "plant-7"


def test_a_host_key_is_named(receipt: Path, known: Path) -> None:
    """With known_hosts the verdict says whose key it was; a hashed name is a line."""
    assert check_receipt(ReceiptCheck(receipt=receipt, known_hosts=known)).signer == "deploy7"

    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    checked = check_receipt(ReceiptCheck(receipt=receipt, known_hosts=known))

    assert checked.signer == "the host in line 1 of known"


def test_a_changed_receipt_is_refused(receipt: Path, known: Path) -> None:
    """One byte is enough."""
    receipt.write_bytes(receipt.read_bytes().replace(b"a-1-5", b"a-1-6"))

    with pytest.raises(SignatureRefused):
        check_receipt(ReceiptCheck(receipt=receipt, known_hosts=known))


def test_the_receipt_of_another_site_is_refused(receipt: Path, host_key: Path, tmp_path: Path) -> None:
    """A site's key does not speak for another site."""
    allowed = tmp_path / "allowed"
    allowed.write_text(f'plant-8 namespaces="receipt@offline" {host_key.with_suffix(".pub").read_text()}')

    with pytest.raises(SignatureRefused, match="speaks for site plant-7, but is signed by plant-8"):
        check_receipt(ReceiptCheck(receipt=receipt, allowed_signers=allowed))


def test_a_key_for_bundles_signs_no_receipts(receipt: Path, host_key: Path, tmp_path: Path) -> None:
    """The namespace of the line counts."""
    allowed = tmp_path / "allowed"
    allowed.write_text(f'plant-7 namespaces="bundle@offline" {host_key.with_suffix(".pub").read_text()}')

    with pytest.raises((SignatureRefused, UsageError)):
        check_receipt(ReceiptCheck(receipt=receipt, allowed_signers=allowed))


def test_a_revoked_host_key_is_not_believed(receipt: Path, known: Path) -> None:
    """@revoked in known_hosts takes the key away."""
    known.write_text(known.read_text() + f"@revoked * {known.read_text().split(maxsplit=1)[1]}")

    with pytest.raises(FormatError, match="pins no"):
        check_receipt(ReceiptCheck(receipt=receipt, known_hosts=known))


def test_a_receipt_cannot_vouch_for_itself(receipt: Path, known: Path) -> None:
    """Exactly one file of believed keys has to be given."""
    for request in (
        ReceiptCheck(receipt=receipt),
        ReceiptCheck(receipt=receipt, known_hosts=known, allowed_signers=known),
    ):
        with pytest.raises(UsageError, match="vouch for itself"):
            check_receipt(request)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"format": 2}', b'{"format": 1, "site": "../x"}'])
def test_what_is_no_receipt_is_refused(data: bytes) -> None:
    """Also with a right signature the document is parsed strictly."""
    with pytest.raises(FormatError):
        parse_receipt(data, "receipt")


def test_names_in_a_receipt_cannot_forge_lines_on_a_terminal(places: Places) -> None:
    """A bundle id with control characters is refused."""
    held = HeldBundle(bundle="a\x1b[2J", digest="", since="2026-11-21T10:00:00Z")
    log(places, "activated", "repo1", "a-1-5")
    made = make_receipt("plant-7", places)
    forged = replace(made, hosts=(replace(made.hosts[0], active=(held,)),))

    with pytest.raises(FormatError, match="not printable"):
        parse_receipt(format_receipt(forged), "receipt")


def test_without_a_key_or_medium_nothing_is_written(places: Places, host_key: Path, tmp_path: Path) -> None:
    """The receipt is signed before it is written anywhere."""
    with pytest.raises(SigningFailed):
        write_receipt(ReceiptRequest(places=places, key=tmp_path / "none"))
    with pytest.raises(StoreError, match="is no directory"):
        write_receipt(ReceiptRequest(places=places, key=host_key, medium=tmp_path / "none"))

    assert not places.receipts.exists()


def test_both_command_lines_show_a_receipt(places: Places, host_key: Path, known: Path, tmp_path: Path) -> None:
    """It goes onto the medium with its signature, and is read at home."""
    stick = tmp_path / "stick"
    stick.mkdir()
    options = ["--config-dir", str(places.config), "--state-dir", str(places.state), "--key", str(host_key)]

    done = CliRunner().invoke(install, ["receipt", "--to", str(stick), "--json", *options], obj=Output())

    assert done.exit_code == 0, done.output
    path = Path(json.loads(done.output)["files"][1])
    assert path.parent == stick
    done = CliRunner().invoke(
        build, ["receipt", "check", str(path), "--known-hosts", str(known), "--json"], obj=Output()
    )
    assert json.loads(done.output)["signer"] == "deploy7"

"""Evidence: one page per bundle, and the check of the log under it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bundler.cli.context import Output
from bundler.cli.install import group
from bundler.deploy.audit import AuditLog
from bundler.deploy.evidence import STEPS, check_audit, gather_evidence
from bundler.deploy.evidence_page import evidence_page
from bundler.deploy.places import Places
from bundler.deploy.state import record_bundle
from bundler.errors import IntegrityError, UsageError
from bundler.workflows.site.evidence import check_evidence
from bundler.workflows.site.receipt import ReceiptRequest, write_receipt

DIGEST = "d" * 64


@pytest.fixture
def told(places: Places) -> Places:
    """Return a site that took a bundle and put it on two hosts."""
    log = AuditLog(places.log)
    log.append("trust initialised", {"version": 1, "digest": "e" * 64, "root_signers": ["root-1"]})
    log.append("refused", {"rule": "SignatureRefused", "exit_code": 70, "message": "<b>no</b>", "sha256sums": DIGEST})
    facts = {"bundle": "a-1-5", "sha256sums": DIGEST, "signers": ["alice", "bob"], "threshold": 2, "trust_version": 1}
    log.append("verified", {**facts, "media": ["/media/stick"], "copied": True, "targets": []})
    record_bundle(places, line="a-1", epoch=0, sequence=5, digest=DIGEST, floor=3, created=7)
    for host in ("repo1", "repo2"):
        for event in ("staged", "activated"):
            log.append(event, {"host": host, "bundle": "a-1-5", "digest": DIGEST})
    log.append("checked", {"host": "repo1", "differences": 0, "paths": []})
    log.append("activated", {"host": "repo3", "bundle": "other-1-1"})
    return places


def run(places: Places, *words: str) -> Result:
    options = ["--config-dir", str(places.config), "--state-dir", str(places.state), "--json"]
    return CliRunner().invoke(group, ["evidence", *words, *options], obj=Output())


def test_evidence_holds_what_the_log_has_of_a_bundle(told: Places) -> None:
    """Signers, rule, state, hosts with what was done to them, and refusals of the same bytes."""
    found = gather_evidence(told, "a-1-5")

    assert found.digest == DIGEST
    assert found.verified[0].facts["signers"] == ["alice", "bob"]
    assert found.recorded[0].facts["floor"] == 3
    assert {name: [one.event for one in records] for name, records in found.hosts.items()} == {
        "repo1": ["staged", "activated", "checked"],
        "repo2": ["staged", "activated"],
    }
    assert [one.facts["rule"] for one in found.refused] == ["SignatureRefused"]


def test_without_an_id_the_last_activated_bundle_is_meant(told: Places) -> None:
    """And its absence is an error that names what there is."""
    with pytest.raises(UsageError, match="no bundle other-1-1 that was accepted") as caught:
        gather_evidence(told)

    assert "a-1-5" in caught.value.hint


def test_a_site_without_bundles_has_no_evidence(places: Places) -> None:
    """The hint says what comes first."""
    with pytest.raises(UsageError, match="no bundle was accepted here yet"):
        gather_evidence(places)


class _Page(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_self_contained_and_says_it_all(told: Places) -> None:
    """No script, no link, nothing from elsewhere; what came from outside is only text."""
    page = _Page()

    page.feed(evidence_page(gather_evidence(told, "a-1-5")))

    assert not page.tags & {"script", "link", "img", "iframe", "b"}
    assert not page.attributes & {"src", "href", "onload"}
    for part in (*STEPS, "alice, bob", "2 needed, by trust version 1", "repo2", DIGEST, "<b>no</b>"):
        assert part in page.text


def test_the_command_writes_the_page_and_gives_json(told: Places, tmp_path: Path) -> None:
    """Both forms come from one call."""
    done = run(told, "a-1-5", "--out", str(tmp_path / "page.html"))

    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["log"]["problems"] == []
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_a_whole_log_passes_the_check(told: Places) -> None:
    """The command says how many records there are."""
    done = run(told, "--check")

    assert done.exit_code == 0
    assert json.loads(done.output)["records"] == len(list(AuditLog(told.log).records()))


def test_an_edited_line_is_named(told: Places) -> None:
    """The check fails with its own error, and the page says it too."""
    told.log.write_bytes(told.log.read_bytes().replace(b"alice", b"mallo"))

    with pytest.raises(IntegrityError, match="line 3: was edited") as caught:
        check_evidence(told)

    assert caught.value.exit_code == 61
    assert "line 3: was edited" in evidence_page(gather_evidence(told, "a-1-5"))


def test_a_log_that_was_cut_after_a_receipt_is_found(told: Places, host_key: Path) -> None:
    """The receipt knows more records than the log has."""
    (path,) = write_receipt(ReceiptRequest(places=told, key=host_key)).files
    lines = told.log.read_bytes().splitlines(keepends=True)
    told.log.write_bytes(b"".join(lines[:-2]))

    with pytest.raises(IntegrityError, match=f"{path.name}: record 10 of the log, its head at that time, is gone"):
        check_evidence(told)


def test_a_receipt_that_cannot_be_read_is_a_problem(told: Places) -> None:
    """It would otherwise be a way to keep the check quiet."""
    told.receipts.mkdir()
    (told.receipts / "receipt-x.json").write_text("{")

    assert [problem.where for problem in check_audit(told).problems] == ["receipt-x.json"]


def test_the_check_is_of_the_whole_log(told: Places) -> None:
    """An id beside --check is refused, not ignored."""
    done = run(told, "a-1-5", "--check")

    assert done.exit_code == 2

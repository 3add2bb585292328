"""Evidence for the security officer, and the check of the audit log that it rests on."""

from __future__ import annotations

from pathlib import Path

from bundler.deploy.audit_check import AuditReport
from bundler.deploy.evidence import Evidence, check_audit, gather_evidence
from bundler.deploy.evidence_page import evidence_page
from bundler.deploy.places import Places
from bundler.errors import IntegrityError
from bundler.files import write


def make_evidence(places: Places, bundle: str, out: Path | None) -> Evidence:
    """Return the evidence of ``bundle`` (empty: the last one) and write its page to ``out``.

    Raises:
        UsageError: The log has no such bundle.
    """
    evidence = gather_evidence(places, bundle)
    if out is not None:
        write(out, evidence_page(evidence).encode())
    return evidence


def check_evidence(places: Places) -> AuditReport:
    """Return the report on an audit log that is as it was written.

    Raises:
        IntegrityError: It is not; ``problems`` says which lines, and which receipts know another log.
    """
    report = check_audit(places)
    if report.problems:
        raise IntegrityError(
            f"{places.log}: {report.problems[0]}",
            hint="keep the file as it is, compare it with receipts that left the site, and ask who was root here",
            problems=report.problems,
        )
    return report

"""What the page of a bundle says of packages beyond ``bundle.json``: from the evidence, or from a running build."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bundler.bundle.layout import EVIDENCE
from bundler.errors import FormatError
from bundler.model.contents import PackageEntry
from bundler.model.lock import Lock
from bundler.model.lock_json import INDEX, read_lock
from bundler.model.page_facts import AcceptedFailure, PageSources
from bundler.model.review_facts import Source
from bundler.venvs.proof_report import ProofReport
from bundler.workflows.review_evidence import Evidence, understand

_LOCKS, _SBOMS, _SBOM = "locks", "sbom/", ".cdx.json"


def sources_of(members: Mapping[str, bytes]) -> PageSources:
    """Return what the members of an evidence archive say.

    Raises:
        FormatError, LockInvalid: A document does not parse.
    """
    licences: dict[str, str] = {}
    for path, data in sorted(members.items()):
        if path.startswith(_SBOMS) and path.endswith(_SBOM):
            licences |= _licences(path, data)
    return _sources(understand(members), _lock(members), licences)


def _sources(evidence: Evidence, lock: Lock | None, licences: Mapping[str, str]) -> PageSources:
    def of(package: PackageEntry) -> tuple[Source, ...]:
        return evidence.of(package.name, package.version, package.kind, package.wheel_sha256)

    return PageSources(of=of, licences=licences, accepted=tuple(_accepted(evidence.reports)), lock=lock)


def _lock(members: Mapping[str, bytes]) -> Lock | None:
    if posixpath.join(_LOCKS, INDEX) not in members:
        return None
    return read_lock(lambda part: members[posixpath.join(_LOCKS, part)], posixpath.join(EVIDENCE, _LOCKS))


def _accepted(reports: Iterable[ProofReport]) -> Iterator[AcceptedFailure]:
    for report in reports:
        for check in report.checks:
            if check.accepted:
                yield AcceptedFailure(
                    venv=report.venv,
                    target=report.target,
                    check=" ".join(part for part in (check.package, check.group, check.name) if part),
                    error=check.error,
                    reason=check.accepted,
                )


def _licences(path: str, data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the digest of each wheel of a CycloneDX document with the licence that it declares."""
    try:
        for component in json.loads(data).get("components", ()):
            said = ", ".join(map(_licence, component.get("licenses", ())))
            for digest in component.get("hashes", ()):
                yield str(digest["content"]), said
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"{EVIDENCE}: {path} does not parse: {type(error).__name__}: {error}") from error


def _licence(choice: Mapping[str, Any]) -> str:
    licence = choice.get("license", {})
    return str(choice.get("expression") or licence.get("id") or licence.get("name") or "")

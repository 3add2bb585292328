"""Read from a bundle's evidence where everything came from and which failures of its proof were accepted."""

from __future__ import annotations

import json
import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bundler.attest.provenance import PREDICATE, resolved_dependencies
from bundler.bundle.layout import EVIDENCE
from bundler.bundle.reader import Bundle
from bundler.errors import FormatError
from bundler.model.lock_json import INDEX, read_lock
from bundler.model.paths import check_path
from bundler.model.review_facts import Source
from bundler.venvs.proof_report import ProofReport

_CONSTRAINTS = "constraints:"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Sources per (package, version), constraint layers by name, and the proof reports."""

    sources: Mapping[tuple[str, str], tuple[Source, ...]]
    constraints: Mapping[str, Source]
    reports: tuple[ProofReport, ...]

    def of(self, name: str, version: str, kind: str, wheel: str) -> tuple[Source, ...]:
        """Return where a package came from: exactly its wheel where that was fetched as it is."""
        found = self.sources.get((name, version), ())
        exact = [source for source in found if source.digest == f"sha256:{wheel}"]
        return tuple(exact or [source for source in found if not kind or source.kind == kind])


def load_evidence(bundle: Bundle) -> Evidence:
    """Return the facts of the bundle's evidence archive; documents that we do not know are passed over.

    Raises:
        IntegrityError: It is not the one that SHA256SUMS lists.
        FormatError: A document in it does not parse, or has a name that no evidence has.
    """
    return understand(bundle.evidence())


def understand(members: Mapping[str, bytes]) -> Evidence:
    """Return the facts of the members of an evidence archive.

    Raises:
        FormatError: A document does not parse, or has a name that no evidence has.
    """
    files = {check_path(path): data for path, data in members.items()}
    descriptors = [one for data in files.values() if PREDICATE.encode() in data for one in _provenance(data)]
    reports = [
        ProofReport.from_json(data)
        for path, data in sorted(files.items())
        if path.endswith(".json") and b'"checks"' in data and b'"install_path"' in data
    ]
    return _evidence(descriptors or _from_locks(files), tuple(reports))


def _evidence(descriptors: Sequence[Mapping[str, Any]], reports: tuple[ProofReport, ...]) -> Evidence:
    sources: dict[tuple[str, str], list[Source]] = defaultdict(list)
    constraints: dict[str, Source] = {}
    try:
        for one in descriptors:
            name, source = _source(one)
            if name.startswith(_CONSTRAINTS):
                constraints[name] = source
            else:
                package, _, version = name.partition("@")
                sources[(package, version)].append(source)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _damaged(error) from error
    return Evidence(
        sources={key: tuple(values) for key, values in sources.items()}, constraints=constraints, reports=reports
    )


def _source(descriptor: Mapping[str, Any]) -> tuple[str, Source]:
    """Return the name and source of an in-toto ResourceDescriptor of ours."""
    (algorithm, digest), *_ = sorted(descriptor["digest"].items())
    kind = str(descriptor.get("annotations", {}).get("kind", ""))
    return str(descriptor["name"]), Source(kind=kind, uri=str(descriptor["uri"]), digest=f"{algorithm}:{digest}")


def _provenance(data: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        statement = json.loads(data)
        if statement["predicateType"] == PREDICATE:
            yield from statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _damaged(error) from error


def _from_locks(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Return the same facts out of the locks, for evidence without provenance."""
    found: list[dict[str, Any]] = []
    for path in sorted(files):
        directory, name = posixpath.split(path)
        if name == INDEX and b'"resolver"' in files[path]:

            def read(part: str, directory: str = directory) -> bytes:
                return files[posixpath.join(directory, part)]

            found += resolved_dependencies(read_lock(read, posixpath.join(EVIDENCE, directory)))
    return found


def _damaged(error: Exception) -> FormatError:
    return FormatError(f"{EVIDENCE}: the provenance does not parse: {type(error).__name__}: {error}")

"""How a bundle came about: an in-toto Statement v1 with a SLSA provenance v1 predicate, as plain JSON.

It has no envelope of its own (no DSSE): it is part of the evidence that ``SHA256SUMS`` covers. Only the lock, the
manifest's digest and our version go in, so that two builds of one lock give the same bytes.
See https://in-toto.io/Statement/v1 and https://slsa.dev/provenance/v1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bundler.attest.origins import origin_digest, origin_uri, public_url
from bundler.clock import iso
from bundler.model.lock import Lock, LockedPackage

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:bundle-build:bundle:1"
BUILDER = "urn:bundle-build:builder:host"


@dataclass(frozen=True, kw_only=True)
class ProvenanceRequest:
    """A bundle's ``subjects`` (file name → SHA-256), the lock that it was built from, the manifest's digest.

    ``tool`` is our version, ``builder`` a URI of who built; ``tools`` further versions that shape the result.
    """

    subjects: Mapping[str, str]
    lock: Lock
    manifest: str
    tool: str
    builder: str = BUILDER
    tools: Mapping[str, str] | None = None


def make_provenance(request: ProvenanceRequest) -> bytes:
    """Return the statement."""
    statement = {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": digest}} for name, digest in sorted(request.subjects.items())
        ],
        "predicateType": PREDICATE,
        "predicate": {"buildDefinition": _definition(request), "runDetails": _run(request)},
    }
    return (json.dumps(statement, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _definition(request: ProvenanceRequest) -> dict[str, Any]:
    lock = request.lock
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "release": {"name": lock.name, "version": lock.version, "sequence": lock.sequence},
            "targets": sorted(lock.targets),
            "manifest": {"sha256": request.manifest},
        },
        "internalParameters": {"lockInputs": {"sha256": lock.inputs}, "resolver": lock.resolver},
        "resolvedDependencies": resolved_dependencies(lock),
    }


def _run(request: ProvenanceRequest) -> dict[str, Any]:
    lock = request.lock
    return {
        "builder": {"id": request.builder, "version": {"bundle-build": request.tool, **(request.tools or {})}},
        "metadata": {
            "invocationId": f"{lock.name}-{lock.version}-{lock.sequence}",
            "startedOn": iso(lock.created),
        },
    }


def resolved_dependencies(lock: Lock) -> list[dict[str, Any]]:
    """Return everything that the lock names, each thing once, as in-toto ResourceDescriptors."""
    locked = [package for venv in lock.carried for package in venv.packages]
    needed = [package for build in lock.builds for package in build.packages]
    descriptors = {json.dumps(one, sort_keys=True): one for one in (*_described(locked, needed), *_constraints(lock))}
    return [descriptors[key] for key in sorted(descriptors, key=lambda key: (descriptors[key]["name"], key))]


def _described(locked: Iterable[LockedPackage], needed: Iterable[LockedPackage]) -> Iterator[dict[str, Any]]:
    carried = list(locked)
    origins = {(package.name, str(package.origin)) for package in carried}
    for package in carried:
        yield _descriptor(package, "carried")
    for package in needed:
        if (package.name, str(package.origin)) not in origins:
            yield _descriptor(package, "build requirement")


def _descriptor(package: LockedPackage, use: str) -> dict[str, Any]:
    return {
        "name": f"{package.name}@{package.version}",
        "uri": origin_uri(package.origin),
        "digest": origin_digest(package.origin),
        "annotations": {"kind": package.kind, "use": use},
    }


def _constraints(lock: Lock) -> Iterator[dict[str, Any]]:
    for layer in lock.layers:
        yield {
            "name": f"constraints:{layer.name}",
            "uri": public_url(layer.location),
            "digest": {"sha256": layer.sha256},
            "annotations": {"kind": "constraint layer"},
        }

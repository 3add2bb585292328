"""The SLSA provenance of a bundle."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from bundler.attest.provenance import ProvenanceRequest, make_provenance
from bundler.model.lock import Artifact, BuildLock, GitSource, LayerRecord, Lock, LockedPackage, VenvLock


def locked(name: str) -> LockedPackage:
    file = f"{name}-1.0-py3-none-any.whl"
    origin = Artifact(name=file, url=f"https://me:secret@index.example/{file}?token=secret", sha256="1" * 64)
    return LockedPackage(name=name, version="1.0", kind="wheel", origin=origin)


@pytest.fixture
def whole() -> ProvenanceRequest:
    """Two venvs that share a package, one git source with build requirements, one constraint layer."""
    git = LockedPackage(
        name="nova", version="33.0.1", kind="git", origin=GitSource(url="https://git.example/nova", commit="c" * 40)
    )
    venvs = (
        VenvLock(venv="nova", target="debian-12-x86_64", packages=(git, locked("pbr"), locked("six"))),
        VenvLock(venv="glance", target="debian-12-x86_64", packages=(locked("six"),)),
    )
    needed = (locked("pbr"), locked("setuptools"))
    build = BuildLock(package="nova", version="33.0.1", target="debian-12-x86_64", packages=needed)
    lock = Lock(
        name="openstack",
        version="2026.1",
        sequence=7,
        created=1_790_000_000,
        inputs="2" * 64,
        resolver="uv",
        targets=("debian-12-x86_64",),
        venvs=venvs,
        builds=(build,),
        layers=(LayerRecord(name="upper", location="https://me@files.example/upper.txt", sha256="3" * 64),),
    )
    subjects = {"z.tar.zst": "9" * 64, "common-001.tar.zst": "8" * 64}
    return ProvenanceRequest(subjects=subjects, lock=lock, manifest="4" * 64, tool="0.1")


def parsed(request: ProvenanceRequest) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(make_provenance(request))
    return data


def test_the_statement_has_the_fields_of_its_formats(whole: ProvenanceRequest) -> None:
    """Types are those of in-toto Statement v1 and SLSA provenance v1, and all required fields are there."""
    statement = parsed(whole)

    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [
        {"name": "common-001.tar.zst", "digest": {"sha256": "8" * 64}},
        {"name": "z.tar.zst", "digest": {"sha256": "9" * 64}},
    ]
    definition, run = (statement["predicate"][key] for key in ("buildDefinition", "runDetails"))
    assert definition["buildType"]
    assert definition["externalParameters"]["manifest"] == {"sha256": "4" * 64}
    assert definition["internalParameters"]["lockInputs"] == {"sha256": "2" * 64}
    assert run["builder"] == {"id": "urn:bundle-build:builder:host", "version": {"bundle-build": "0.1"}}
    assert run["metadata"] == {"invocationId": "openstack-2026.1-7", "startedOn": "2026-09-21T14:13:20Z"}


def test_everything_that_went_in_is_named_once(whole: ProvenanceRequest) -> None:
    """Carried packages, build requirements, sources and constraint layers appear once, with digests."""
    found = parsed(whole)["predicate"]["buildDefinition"]["resolvedDependencies"]

    uses = {one["name"]: one["annotations"].get("use", "") for one in found}
    assert list(uses) == ["constraints:upper", "nova@33.0.1", "pbr@1.0", "setuptools@1.0", "six@1.0"]
    assert len(found) == len(uses)
    assert uses["pbr@1.0"] == "carried"
    assert uses["setuptools@1.0"] == "build requirement"
    assert found[1]["digest"] == {"gitCommit": "c" * 40}
    assert all(one["digest"] and one["uri"] for one in found)


def test_no_credential_is_written(whole: ProvenanceRequest) -> None:
    """Users, passwords and tokens of addresses do not reach the statement."""
    data = make_provenance(whole)

    assert b"secret" not in data
    assert b"me@" not in data


def test_the_statement_is_deterministic(whole: ProvenanceRequest) -> None:
    """The order in which a lock lists its venvs does not matter, and nothing of the run goes in."""
    turned = dataclasses.replace(whole, lock=dataclasses.replace(whole.lock, venvs=whole.lock.venvs[::-1]))

    assert make_provenance(turned) == make_provenance(whole)

"""A software bill of materials for one venv on one target: CycloneDX 1.6, JSON, deterministic.

The serial number is a UUIDv5 of what the document says; its time is the lock's.
"""

from __future__ import annotations

import datetime
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement, LicenseExpression
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import is_supported_id
from packageurl import PackageURL

from bundler.attest.licences import Licence, licence_of
from bundler.attest.origins import origin_uri
from bundler.model.lock import Artifact, GitSource
from bundler.model.wheel import Wheel

#: Names of our properties begin with this (CycloneDX property taxonomy: a name of one's own).
PREFIX = "bundle:"
_UNKNOWN = uuid.UUID(int=0)
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "bundle-build sbom 1")


@dataclass(frozen=True, kw_only=True)
class SbomPackage:
    """An installed package: its wheel, the bytes of its METADATA, names it depends on, whether it was asked for."""

    wheel: Wheel
    metadata: bytes
    dependencies: tuple[str, ...] = ()
    requested: bool = False


@dataclass(frozen=True, kw_only=True)
class SbomRequest:
    """A venv of a release, or packages that are carried without one.

    ``created`` is in seconds since the epoch; ``tool`` our version.
    """

    venv: str
    target: str
    release: str
    version: str
    python: str
    install_path: str
    created: int
    tool: str
    packages: tuple[SbomPackage, ...]


def make_sbom(request: SbomRequest) -> bytes:
    """Return the CycloneDX document."""
    facts = {"target": request.target, "python": request.python, "install-path": request.install_path}
    root = Component(
        name=request.venv,
        version=request.version,
        group=request.release,
        type=ComponentType.APPLICATION,
        bom_ref=f"venv:{request.venv.replace(' ', '-')}@{request.target}",
        properties=[Property(name=f"{PREFIX}{name}", value=value) for name, value in facts.items() if value],
    )
    components = {package.wheel.name: _component(package) for package in request.packages}
    bom = Bom(components=components.values(), serial_number=_UNKNOWN)
    bom.metadata = BomMetaData(
        component=root,
        tools=ToolRepository(
            components=[Component(name="bundle-build", version=request.tool, type=ComponentType.APPLICATION)]
        ),
        timestamp=datetime.datetime.fromtimestamp(request.created, tz=datetime.timezone.utc),
    )
    asked = [package for package in request.packages if package.requested] or request.packages
    bom.register_dependency(root, [components[package.wheel.name] for package in asked])
    for package in request.packages:
        known = [components[name] for name in package.dependencies if name in components]
        bom.register_dependency(components[package.wheel.name], known)
    text = JsonV1Dot6(bom).output_as_string(indent=1) + "\n"
    serial = uuid.uuid5(_NAMESPACE, hashlib.sha256(text.encode()).hexdigest())
    return text.replace(str(_UNKNOWN), str(serial), 1).encode()


def _component(package: SbomPackage) -> Component:
    wheel = package.wheel
    qualifiers = {"vcs_url": origin_uri(wheel.origin)} if isinstance(wheel.origin, GitSource) else {}
    return Component(
        name=wheel.name,
        version=wheel.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{wheel.name}@{wheel.version}",
        purl=PackageURL(type="pypi", name=wheel.name, version=wheel.version, qualifiers=qualifiers),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.digest)],
        licenses=list(_licences(licence_of(package.metadata))),
        external_references=list(_references(wheel)),
        properties=[
            Property(name=f"{PREFIX}kind", value=wheel.kind),
            Property(name=f"{PREFIX}wheel", value=wheel.filename),
        ],
    )


def _references(wheel: Wheel) -> Iterator[ExternalReference]:
    uri = origin_uri(wheel.origin)
    if isinstance(wheel.origin, GitSource):
        yield ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(uri))
    elif isinstance(wheel.origin, Artifact):
        kind = ExternalReferenceType.SOURCE_DISTRIBUTION if wheel.built else ExternalReferenceType.DISTRIBUTION
        digest = HashType(alg=HashAlgorithm.SHA_256, content=wheel.origin.sha256)
        yield ExternalReference(type=kind, url=XsUri(uri), hashes=[digest])
    else:
        digest = HashType(alg=HashAlgorithm.SHA_256, content=wheel.origin.sha256)
        yield ExternalReference(type=ExternalReferenceType.SOURCE_DISTRIBUTION, url=XsUri(uri), hashes=[digest])


def _licences(licence: Licence) -> Iterator[DisjunctiveLicense | LicenseExpression]:
    """Yield either one expression or single licences: CycloneDX knows no mixture."""
    declared = LicenseAcknowledgement.DECLARED
    if licence.expression and not is_supported_id(licence.expression):
        yield LicenseExpression(licence.expression, acknowledgement=declared)
        return
    for one in filter(None, (licence.expression, *licence.ids)):
        if is_supported_id(one):
            yield DisjunctiveLicense(id=one, acknowledgement=declared)
        else:
            yield DisjunctiveLicense(name=one, acknowledgement=declared)
    for name in licence.names:
        yield DisjunctiveLicense(name=name, acknowledgement=declared)

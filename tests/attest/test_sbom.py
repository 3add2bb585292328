"""The CycloneDX document of a venv."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from typing import Any

import pytest
from cyclonedx.exception import MissingOptionalDependencyException
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from bundler.attest.sbom import SbomPackage, SbomRequest, make_sbom
from bundler.model.lock import Artifact, DirectorySource, GitSource, Kind, Origin
from bundler.model.wheel import Wheel


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def package(
    name: str,
    *,
    licence: str = "License-Expression: MIT",
    origin: Origin | None = None,
    kind: Kind = "wheel",
    needs: tuple[str, ...] = (),
    requested: bool = False,
) -> SbomPackage:
    filename = f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    fetched = Artifact(name=filename, url=f"https://me:secret@index.example/{filename}", sha256=digest(name))
    wheel = Wheel(
        name=name, version="1.0", filename=filename, digest=digest(name), size=1, kind=kind, origin=origin or fetched
    )
    metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{licence}\n".encode()
    return SbomPackage(wheel=wheel, metadata=metadata, dependencies=needs, requested=requested)


def request(*packages: SbomPackage) -> SbomRequest:
    return SbomRequest(
        venv="nova",
        target="debian-12-x86_64",
        release="openstack",
        version="2026.1",
        python="3.11.2",
        install_path="/openstack/venvs/nova-1",
        created=1_790_000_000,
        tool="0.1",
        packages=packages,
    )


@pytest.fixture
def mixed() -> SbomRequest:
    """Packages of every kind of origin and licence."""
    git = GitSource(url="https://me:secret@git.example/nova.git", commit="c" * 40)
    sdist = Artifact(name="legacy-1.0.tar.gz", url="file:///home/me/legacy-1.0.tar.gz", sha256="5" * 64)
    tree = DirectorySource(path="../own", sha256="6" * 64)
    return request(
        package("nova", origin=git, kind="git", needs=("oslo-config", "absent"), requested=True),
        package("oslo-config", licence="License: weird terms", needs=("own",)),
        package("legacy", origin=sdist, kind="sdist", licence="License-Expression: MIT OR Apache-2.0"),
        package("own", origin=tree, kind="directory", licence="License-Expression: LicenseRef-Own"),
        package("plain", licence="Classifier: License :: OSI Approved :: BSD License"),
    )


def parsed(of: SbomRequest) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(make_sbom(of))
    return data


def component(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in document["components"] if one["name"] == name]
    return dict(found)


def test_the_document_follows_the_schema(mixed: SbomRequest) -> None:
    """CycloneDX's own strict validator finds nothing; without its extra the required fields are looked at."""
    text = make_sbom(mixed).decode()

    try:
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    except MissingOptionalDependencyException:
        document = json.loads(text)
        assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
        assert document["serialNumber"].startswith("urn:uuid:")
        assert all({"type", "name", "version", "purl", "bom-ref"} <= one.keys() for one in document["components"])


def test_a_component_has_hash_origin_and_licence(mixed: SbomRequest) -> None:
    """The wheel's digest, where it came from and the declared licence are there, credentials and paths are not."""
    document = parsed(mixed)

    nova = component(document, "nova")
    assert nova["hashes"] == [{"alg": "SHA-256", "content": digest("nova")}]
    assert nova["purl"].startswith("pkg:pypi/nova@1.0?vcs_url=git%2Bhttps://git.example/nova.git%40cccc")
    assert nova["externalReferences"] == [{"type": "vcs", "url": f"git+https://git.example/nova.git@{'c' * 40}"}]
    legacy = component(document, "legacy")
    assert legacy["externalReferences"][0]["type"] == "source-distribution"
    assert legacy["externalReferences"][0]["url"] == "legacy-1.0.tar.gz"
    assert {"name": "bundle:kind", "value": "sdist"} in legacy["properties"]
    assert not any(word in make_sbom(mixed) for word in (b"secret", b"/home/me"))


def test_licences_are_identifiers_expressions_or_names(mixed: SbomRequest) -> None:
    """A single identifier, an expression and free text each take the form that CycloneDX has for it."""
    document = parsed(mixed)

    licences = {one["name"]: one["licenses"][0] for one in document["components"]}
    assert licences["nova"]["license"]["id"] == "MIT"
    assert licences["legacy"]["expression"] == "MIT OR Apache-2.0"
    assert licences["oslo-config"]["license"]["name"] == "weird terms"
    assert licences["own"]["expression"] == "LicenseRef-Own"
    assert licences["plain"]["license"]["name"] == "BSD License"


def test_the_graph_leads_from_the_venv_to_its_packages(mixed: SbomRequest) -> None:
    """The venv depends on what was asked for, packages on what of their dependencies is installed."""
    document = parsed(mixed)

    graph = {one["ref"]: one.get("dependsOn", []) for one in document["dependencies"]}
    assert graph["venv:nova@debian-12-x86_64"] == ["nova@1.0"]
    assert graph["nova@1.0"] == ["oslo-config@1.0"]
    assert graph["oslo-config@1.0"] == ["own@1.0"]


def test_the_document_is_deterministic(mixed: SbomRequest) -> None:
    """The same facts in any order give the same bytes, others another serial number; the time is the lock's."""
    turned = dataclasses.replace(mixed, packages=tuple(reversed(mixed.packages)))
    later = dataclasses.replace(mixed, created=mixed.created + 1)

    assert make_sbom(turned) == make_sbom(mixed)
    assert parsed(later)["serialNumber"] != parsed(mixed)["serialNumber"]
    assert parsed(mixed)["metadata"]["timestamp"] == "2026-09-21T14:13:20+00:00"


def test_local_paths_of_one_host_do_not_change_the_document() -> None:
    """A wheel folder at another place gives the same bytes."""
    places = (f"file:///{home}/w/a-1.0.whl" for home in ("home/me", "build/x"))
    origins = [Artifact(name="a-1.0.whl", url=url, sha256="1" * 64) for url in places]

    first, second = (make_sbom(request(package("a", origin=origin))) for origin in origins)

    assert first == second


def test_a_large_venv_takes_less_than_a_second() -> None:
    """A service with 140 packages is described quickly."""
    names = [f"package-{number}" for number in range(140)]
    large = request(*(package(name, needs=tuple(names[:5])) for name in names))

    begun = time.process_time()
    document = parsed(large)

    assert time.process_time() - begun < 1
    assert len(document["components"]) == 140

"""People with real keys, and the trust documents that they make and sign."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bundler.bundle.layout import SUMS, signature_name
from bundler.deploy.places import Places
from bundler.model.sums import format_sums
from bundler.model.trust import TRUST_NAMESPACE, Role, TrustDocument, TrustedSigner, trust_directory
from bundler.model.trust_json import render
from bundler.signing import sshkeygen

#: ``r1b`` is a second key of r1; ``p`` is ECDSA P-256.
PEOPLE = ("r1", "r1b", "r2", "r3", "r4", "r5", "alice", "bob", "mallory")


@dataclass(frozen=True)
class Ceremony:
    """Where the keys lie."""

    keys: Path

    def key(self, name: str) -> Path:
        return self.keys / name

    def public(self, name: str) -> str:
        return str(sshkeygen.public_key(self.key(name)))

    def fingerprint(self, name: str) -> str:
        return sshkeygen.public_key(self.key(name)).fingerprint

    def signer(self, name: str, role: Role, *keys: str) -> TrustedSigner:
        return TrustedSigner(name=name, role=role, keys=tuple(sorted(self.public(key) for key in keys or (name,))))

    def document(self, version: int = 1, roots: str = "r1 r2 r3", **changes: Any) -> TrustDocument:
        """Return a document: two of three roots, r1 with two keys; two of alice and bob sign bundles."""
        keys = {"r1": ("r1", "r1b")}
        values: dict[str, Any] = {
            "version": version,
            "signers": (
                self.signer("alice", "bundle"),
                self.signer("bob", "bundle"),
                *(self.signer(name, "root", *keys.get(name, (name,))) for name in roots.split()),
            ),
            "root_threshold": 2,
            "bundle_threshold": 2,
            **changes,
        }
        return TrustDocument(**values)

    def files(
        self,
        document: TrustDocument,
        signers: str = "r1 r2",
        *,
        namespace: str = TRUST_NAMESPACE,
        changed: Mapping[str, bytes] | None = None,
    ) -> dict[str, bytes]:
        """Return a container signed by people; ``changed`` files are what they sign instead of the rendered ones."""
        files = {**render(document), **(changed or {})}
        files[SUMS] = format_sums({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
        return files | self.signatures(files[SUMS], signers, namespace)

    def signatures(self, sums: bytes, signers: str, namespace: str = TRUST_NAMESPACE) -> dict[str, bytes]:
        return {signature_name(name): sshkeygen.sign(sums, self.key(name), namespace) for name in signers.split()}


def digest_of(files: Mapping[str, bytes]) -> str:
    return hashlib.sha256(files[SUMS]).hexdigest()


def put(medium: Path, version: int, files: Mapping[str, bytes]) -> Path:
    """Write a container onto a medium."""
    directory = medium / trust_directory(version)
    directory.mkdir(parents=True)
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory


@pytest.fixture(scope="session")
def ceremony(tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    directory = tmp_path_factory.mktemp("people")
    for name in PEOPLE:
        sshkeygen.generate(directory / name, name)
    argv = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "256", "-N", "", "-C", "p", "-f", str(directory / "p")]
    subprocess.run(argv, check=True, capture_output=True)
    return Ceremony(directory)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(config=tmp_path / "etc", state=tmp_path / "var")


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    (tmp_path / "stick").mkdir()
    return tmp_path / "stick"

"""Small bundles of made-up blobs for two targets, signed by keys made for the session.

The fixtures are for the conftest.py of whoever needs them: ``from tests.bundles import …``.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bundler.bundle.layout import NAMESPACE, signature_name
from bundler.bundle.writer import BundlePlan, write_bundle
from bundler.events import ignore
from bundler.model.contents import (
    FileEntry,
    LinkEntry,
    PackageEntry,
    ProofEntry,
    TargetEntry,
    VenvEntry,
)
from bundler.signing import sshkeygen
from bundler.signing.allowed_signers import AllowedSigner, format_allowed_signers

DEBIAN, UBUNTU = "debian-12-x86_64", "ubuntu-24.04-x86_64"


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Sample:
    """Blobs in memory and the files made of them."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    files: list[FileEntry] = field(default_factory=list)
    links: list[LinkEntry] = field(default_factory=list)
    venvs: list[VenvEntry] = field(default_factory=list)

    def blob(self, data: bytes) -> str:
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest

    def file(self, path: str, pieces: list[bytes], *targets: str) -> FileEntry:
        data = b"".join(pieces)
        entry = FileEntry(
            path=path,
            size=len(data),
            sha256=digest_of(data),
            mode=0o644,
            targets=targets,
            blobs=tuple(self.blob(piece) for piece in pieces),
        )
        self.files.append(entry)
        return entry

    def open(self, digest: str) -> io.BytesIO:
        return io.BytesIO(self.blobs[digest])

    def plan(self, installer: Path, **changes: object) -> BundlePlan:
        values: dict[str, object] = {
            "name": "demo",
            "version": "2026.1",
            "sequence": 1795123456,
            "floor": 0,
            "created": 1795123456,
            "tool": "offline-bundler 0",
            "targets": tuple(
                TargetEntry(name=name, distro="d", version="1", arch="x86_64", python="3.11.2", glibc="2.36")
                for name in (DEBIAN, UBUNTU)
            ),
            "files": tuple(self.files),
            "links": tuple(self.links),
            "venvs": tuple(self.venvs),
            "blob_sizes": {digest: len(data) for digest, data in self.blobs.items()},
            "compressed": frozenset(digest for digest, data in self.blobs.items() if not data.isascii()),
            "installer": installer,
            "evidence": [("locks/lock.json", b"{}\n"), ("proof/keystone.json", b'{"passed": true}\n')],
            **changes,
        }
        return BundlePlan(**values)  # type: ignore[arg-type]


def make_sample(seed: int = 1, *, proof: ProofEntry | None = None) -> Sample:
    noise = hashlib.shake_256(str(seed).encode()).digest(46_001)
    sample = Sample()
    shared, native, end = noise[:30_000], [noise[30_000:39_000], noise[39_000:]], bytes(10240)
    for target, layer in zip((DEBIAN, UBUNTU), native, strict=True):
        top = f"os-releases/2026.1/{target}"
        archive = sample.file(f"{top}/venvs/keystone-29.0.0.tar.zst", [shared, layer, end], target)
        line = f"{archive.sha256}  keystone-29.0.0.tar.zst\n".encode()
        sample.file(f"{top}/venvs/keystone-29.0.0.tar.zst.sha256", [line], target)
        wheel = sample.file(f"{top}/wheels/pure-1.0+local-py3-none-any.whl", [shared[:5000]], target)
        sample.file(f"{top}/wheels/native-2!1.0-cp311-cp311-linux_x86_64.whl", [layer[:4000]], target)
        sample.file(f"{top}/locks/pylock.keystone.toml", [f"# {target}\n".encode() * 50], target)
        sample.venvs.append(
            VenvEntry(
                name="keystone",
                target=target,
                python="3.11.2",
                install_path="/openstack/venvs/keystone-29.0.0",
                archive=archive.path,
                packages=(
                    PackageEntry(
                        name="pure",
                        version="1.0",
                        wheel=wheel.path.rsplit("/", 1)[1],
                        wheel_sha256=wheel.sha256,
                        layers=(digest_of(shared),),
                        kind="wheel",
                        requested=True,
                    ),
                ),
                console_scripts=("keystone-manage",),
                proof=proof or ProofEntry(level="host", passed=True, checks=3, unisolated=("pid",)),
            )
        )
    sample.file("constraints/upper_constraints_abc.txt", [b"six==1.17\n"], DEBIAN, UBUNTU)
    sample.links.append(
        LinkEntry(
            path="constraints/upper_constraints_cached.txt", to="upper_constraints_abc.txt", targets=(DEBIAN, UBUNTU)
        )
    )
    return sample


@dataclass(frozen=True)
class Keys:
    """Key pairs and an allowed_signers file that trusts alice and bob, not mallory."""

    directory: Path
    allowed: Path

    def key(self, name: str) -> Path:
        return self.directory / name

    def sign(self, bundle: Path, name: str, *, as_name: str = "", namespace: str = NAMESPACE) -> Path:
        path = bundle / signature_name(as_name or name)
        path.write_bytes(sshkeygen.sign((bundle / "SHA256SUMS").read_bytes(), self.key(name), namespace))
        return path


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    directory = tmp_path_factory.mktemp("keys")
    for name in ("alice", "alice-2", "bob", "mallory"):
        sshkeygen.generate(directory / name, name)
    signers = [
        AllowedSigner(
            principal=name.split("-")[0], namespaces=(NAMESPACE,), key=sshkeygen.public_key(directory / name)
        )
        for name in ("alice", "alice-2", "bob")
    ]
    allowed = directory / "allowed_signers"
    allowed.write_bytes(format_allowed_signers(signers))
    return Keys(directory, allowed)


@pytest.fixture(scope="session")
def installer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("installer") / "bundle-install.pex"
    path.write_bytes(b"#!/usr/bin/env python3\nprint('hello')\n")
    return path


BundleMaker = Callable[..., Path]


@pytest.fixture
def make_bundle(tmp_path: Path, installer: Path) -> BundleMaker:
    """Write an unsigned bundle of a sample and return its directory."""

    def make(name: str = "bundle", sample: Sample | None = None, **changes: object) -> Path:
        chosen = sample or make_sample()
        write_bundle(chosen.plan(installer, **changes), chosen.open, tmp_path / name, ignore)
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def signed_bundle(tmp_path_factory: pytest.TempPathFactory, installer: Path, keys: Keys) -> Path:
    sample = make_sample()
    path = tmp_path_factory.mktemp("signed") / "bundle"
    write_bundle(sample.plan(installer), sample.open, path, ignore)
    keys.sign(path, "alice")
    return path


@pytest.fixture
def bundle(signed_bundle: Path, tmp_path: Path) -> Path:
    """Return a private copy of a bundle that alice signed."""
    copy = tmp_path / "signed"
    shutil.copytree(signed_bundle, copy)
    return copy


@pytest.fixture
def sample() -> Sample:
    return make_sample()


@pytest.fixture
def sampler() -> Callable[..., Sample]:
    return make_sample

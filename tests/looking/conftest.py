"""Small real bundles: wheels made with zipfile, venv archives of layers, locks, provenance and proofs."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bundler.archive.compress import compress_frame
from bundler.attest.provenance import ProvenanceRequest, make_provenance
from bundler.bundle.layout import NAMESPACE, signature_name
from bundler.bundle.writer import BundlePlan, write_bundle
from bundler.cli.build import group
from bundler.cli.shell import run
from bundler.events import ignore
from bundler.model.contents import FileEntry, LinkEntry, PackageEntry, ProofEntry, TargetEntry, VenvEntry
from bundler.model.lock import Artifact, GitSource, Kind, LayerRecord, Lock, LockedPackage, VenvLock
from bundler.model.lock_json import lock_files
from bundler.model.target import known_target
from bundler.model.wheel import Wheel
from bundler.signing import sshkeygen
from bundler.venvs.proof_report import Check, ProofReport

DEBIAN, UBUNTU = "debian-12-x86_64", "ubuntu-24.04-x86_64"
TARGETS = (DEBIAN, UBUNTU)
INDEX = "https://index.example/files/"


@dataclass(frozen=True, kw_only=True)
class MadeWheel:
    """A wheel file and where its package is said to come from."""

    name: str
    version: str
    filename: str
    data: bytes
    kind: Kind = "wheel"
    url: str = ""

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def locked(self) -> LockedPackage:
        origin: Artifact | GitSource = Artifact(
            name=self.filename, url=self.url or INDEX + self.filename, sha256=self.digest
        )
        if self.kind == "sdist":
            digest = hashlib.sha256(self.filename.encode()).hexdigest()
            origin = Artifact(
                name=f"{self.name}-{self.version}.tar.gz",
                url=self.url or f"{INDEX}{self.name}-{self.version}.tar.gz",
                sha256=digest,
            )
        elif self.kind == "git":
            origin = GitSource(url=self.url, commit=hashlib.sha1(self.data, usedforsecurity=False).hexdigest())
        return LockedPackage(name=self.name, version=self.version, kind=self.kind, origin=origin, requested=True)

    def built(self) -> Wheel:
        return Wheel(
            name=self.name,
            version=self.version,
            filename=self.filename,
            digest=self.digest,
            size=len(self.data),
            kind=self.kind,
            origin=self.locked().origin,
        )

    @property
    def metadata(self) -> bytes:
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            return archive.read(f"{self.name}-{self.version}.dist-info/METADATA")


def make_wheel(name: str, version: str = "1.0", files: Mapping[str, bytes] | None = None, **more: Any) -> MadeWheel:
    """Return a wheel; ``entry_points`` and ``licence`` go into its metadata, ``kind`` and ``url`` into the lock."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
    metadata += f"License-Expression: {more.get('licence', 'MIT')}\n"
    members: dict[str, bytes] = {f"{name}/__init__.py": f"VERSION = {version!r}\n".encode() * 40}
    members |= files or {}
    members |= {f"{info}/METADATA": metadata.encode(), f"{info}/RECORD": b""}
    if "entry_points" in more:
        members[f"{info}/entry_points.txt"] = more["entry_points"].encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in members.items():
            archive.writestr(zipfile.ZipInfo(path), data, zipfile.ZIP_DEFLATED)
    return MadeWheel(
        name=name,
        version=version,
        filename=f"{name}-{version}-{more.get('tag', 'py3-none-any')}.whl",
        data=target.getvalue(),
        kind=more.get("kind", "wheel"),
        url=more.get("url", ""),
    )


def layer_of(wheel: MadeWheel) -> bytes:
    """Return the wheel's tree as one tar segment in one zstd frame."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel.data)) as archive, tarfile.open(fileobj=target, mode="w") as tar:
        for info in archive.infolist():
            member = tarfile.TarInfo(f"lib/py/site-packages/{info.filename}")
            member.size = info.file_size
            tar.addfile(member, archive.open(info))
        segment = target.getvalue()[: tar.offset]
    return b"".join(compress_frame([segment], len(segment)))


END_FRAME = b"".join(compress_frame([bytes(10240)], 10240))


@dataclass
class Release:
    """A release that can be written as a bundle. ``venvs`` are the wheels of each venv on each target."""

    venvs: dict[tuple[str, str], list[MadeWheel]]
    version: str = "2026.1"
    sequence: int = 1795123456
    python: str = "3.11.2"
    tool: str = "offline-bundler 1"
    installer: bytes = b"#!/usr/bin/env python3\nprint('hello')\n"
    loose: list[MadeWheel] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    constraints: str = "a"
    provenance: bool = True
    sboms: bool = False
    effective: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, FileEntry] = field(default_factory=dict)

    def write(self, into: Path) -> Path:
        """Write the bundle and return its directory."""
        entries = [self._venv(name, target, wheels) for (name, target), wheels in self.venvs.items()]
        for wheel in self.loose:
            self._file(f"os-releases/{self.version}/{DEBIAN}/wheels/{wheel.filename}", [wheel.data], DEBIAN)
        self._file("constraints/upper_constraints_abc.txt", [b"six==1.17\n"], *TARGETS)
        installer = into.parent / f"{into.name}.pex"
        installer.write_bytes(self.installer)
        plan = BundlePlan(
            name="demo",
            version=self.version,
            sequence=self.sequence,
            floor=0,
            created=self.sequence,
            tool=self.tool,
            targets=tuple(
                TargetEntry(name=name, distro="d", version="1", arch="x86_64", python=self.python, glibc="2.36")
                for name in TARGETS
            ),
            files=tuple(self.files.values()),
            links=(
                LinkEntry(
                    path="constraints/upper_constraints_cached.txt", to="upper_constraints_abc.txt", targets=TARGETS
                ),
            ),
            venvs=tuple(entries),
            blob_sizes={digest: len(data) for digest, data in self.blobs.items()},
            installer=installer,
            evidence=self._evidence(),
        )
        write_bundle(plan, lambda digest: io.BytesIO(self.blobs[digest]), into, ignore)
        return into

    def _file(self, path: str, pieces: Sequence[bytes], *targets: str) -> FileEntry:
        digests = [hashlib.sha256(piece).hexdigest() for piece in pieces]
        self.blobs |= dict(zip(digests, pieces, strict=True))
        data = b"".join(pieces)
        self.files[path] = FileEntry(
            path=path,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            mode=0o644,
            targets=targets,
            blobs=tuple(digests),
        )
        return self.files[path]

    def _venv(self, name: str, target: str, wheels: Sequence[MadeWheel]) -> VenvEntry:
        top = f"os-releases/{self.version}/{target}"
        for wheel in wheels:
            self._file(f"{top}/wheels/{wheel.filename}", [wheel.data], target)
        layers = {wheel.name: layer_of(wheel) for wheel in wheels}
        archive = self._file(f"{top}/venvs/{name}-1.tar.zst", [*layers.values(), END_FRAME], target)
        return VenvEntry(
            name=name,
            target=target,
            python=self.python,
            install_path=f"/openstack/venvs/{name}-1",
            archive=archive.path,
            packages=tuple(
                PackageEntry(
                    name=wheel.name,
                    version=wheel.version,
                    wheel=wheel.filename,
                    wheel_sha256=wheel.digest,
                    layers=(hashlib.sha256(layers[wheel.name]).hexdigest(),),
                    kind=wheel.kind,
                    requested=wheel is wheels[0],
                )
                for wheel in wheels
            ),
            console_scripts=(f"{name}-manage",),
            proof=ProofEntry(level="host", passed=True, checks=3, allowed=len(self.accepted)),
        )

    def _evidence(self) -> list[tuple[str, bytes]]:
        lock = Lock(
            name="demo",
            version=self.version,
            sequence=self.sequence,
            created=self.sequence,
            inputs="0" * 64,
            resolver="uv",
            targets=TARGETS,
            venvs=tuple(
                VenvLock(venv=name, target=target, packages=tuple(wheel.locked() for wheel in wheels))
                for (name, target), wheels in self.venvs.items()
            ),
            layers=(
                LayerRecord(
                    name="upper",
                    location="https://pins.example/upper.txt",
                    sha256=hashlib.sha256(self.constraints.encode()).hexdigest(),
                ),
            ),
            effective=self.effective,
        )
        documents = lock_files(lock, {name: known_target(name) for name in TARGETS})
        found = [(f"locks/{path}", data) for path, data in documents.items()]
        for name, target in self.venvs:
            checks = [
                Check(kind="script", package=name, group="console_scripts", name=script, error="no", accepted=reason)
                for script, reason in self.accepted.items()
            ]
            report = ProofReport(
                venv=name,
                target=target,
                level="host",
                python=self.python,
                install_path=f"/openstack/venvs/{name}-1",
                archive="0" * 64,
                checks=tuple(checks),
            )
            found.append((f"proof/{target}/{name}.json", report.to_json()))
        if self.provenance:
            request = ProvenanceRequest(subjects={}, lock=lock, manifest="1" * 64, tool=self.tool)
            found.append(("provenance.intoto.json", make_provenance(request)))
        if self.sboms:
            found += [self._sbom(*place, wheels) for place, wheels in self.venvs.items()]
        return found

    def _sbom(self, venv: str, target: str, wheels: Sequence[MadeWheel]) -> tuple[str, bytes]:
        from bundler.attest.sbom import SbomPackage, SbomRequest, make_sbom  # noqa: PLC0415  # slow, and for few

        request = SbomRequest(
            venv=venv,
            target=target,
            release="demo",
            version=self.version,
            python=self.python,
            install_path=f"/openstack/venvs/{venv}-1",
            created=self.sequence,
            tool=self.tool,
            packages=tuple(SbomPackage(wheel=wheel.built(), metadata=wheel.metadata) for wheel in wheels),
        )
        return f"sbom/{target}/{venv}.cdx.json", make_sbom(request)


SHARED = make_wheel("shared", "1.0", {"shared/data.bin": hashlib.shake_256(b"shared").digest(40_000)})


def make_release(*extra: MadeWheel, **changes: Any) -> Release:
    """Return keystone and nova on two targets, both with ``shared``; ``extra`` wheels go into nova."""
    nova = make_wheel("nova", "33.0", {"nova/x.bin": hashlib.shake_256(b"nova").digest(9_000)})
    replaced = {wheel.name for wheel in extra}
    usual = [wheel for wheel in (nova, SHARED) if wheel.name not in replaced]
    venvs = {("keystone", target): [make_wheel("keystone", "29.0"), SHARED] for target in TARGETS}
    venvs |= {("nova", target): [*extra, *usual] for target in TARGETS}
    return Release(venvs=venvs, **changes)


@dataclass(frozen=True)
class Ran:
    """How a run of `bundle-build` ended."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.err.splitlines()[-1])
        return found


@pytest.fixture
def wheel() -> Callable[..., MadeWheel]:
    return make_wheel


@pytest.fixture
def release() -> Callable[..., Release]:
    return make_release


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return an unsigned bundle of two venvs on two targets."""
    return make_release().write(tmp_path / "bundle")


@pytest.fixture
def signed(bundle: Path, tmp_path: Path) -> Path:
    """Return the same bundle with alice's signature."""
    sshkeygen.generate(tmp_path / "alice", "alice")
    signature = sshkeygen.sign((bundle / "SHA256SUMS").read_bytes(), tmp_path / "alice", NAMESPACE)
    (bundle / signature_name("alice")).write_bytes(signature)
    return bundle


@pytest.fixture
def bundle_build(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Iterator[Callable[..., Ran]]:
    """Run `bundle-build` with some arguments, in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setenv("COLUMNS", "300")

    def call(*arguments: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["bundle-build", *map(str, arguments)])
        status = run(group, "bundle-build")
        written = capsysbinary.readouterr()
        return Ran(status, written.out, written.err.decode())

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def damage() -> Callable[[Path, int], None]:
    """Turn one byte of a file around."""

    def turn(path: Path, offset: int) -> None:
        data = bytearray(path.read_bytes())
        data[offset] ^= 0xFF
        path.write_bytes(data)

    return turn

"""A bundle like that of a whole OpenStack release in everything but bytes: packages, venvs, files, evidence."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bundler.attest.provenance import ProvenanceRequest, make_provenance
from bundler.attest.sbom import SbomPackage, SbomRequest, make_sbom
from bundler.bundle.writer import BundlePlan, write_bundle
from bundler.events import ignore
from bundler.model.contents import FileEntry, PackageEntry, ProofEntry, TargetEntry, VenvEntry
from bundler.model.lock import Artifact, LayerRecord, Lock, LockedPackage, VenvLock
from bundler.model.lock_json import lock_files
from bundler.model.target import known_target
from bundler.model.wheel import Wheel

TARGETS = ("debian-12-x86_64", "debian-13-x86_64", "debian-12-aarch64")
VENVS = 32
_LICENCES = ("Apache-2.0", "MIT", "BSD-3-Clause", "MIT AND (Apache-2.0 OR BSD-2-Clause)")
_PYTHONS = {"debian-12-x86_64": "3.11.2", "debian-13-x86_64": "3.13.5", "debian-12-aarch64": "3.11.2"}
#: Of six packages one is compiled for each target; files of an index that each wheel brings.
_COMPILED, _INDEX_FILES = 6, 3
_FORMAT = {"release": "os-releases/1", "index": "https://index.example/files"}


@dataclass
class _Maker:
    packages: int
    blobs: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, FileEntry] = field(default_factory=dict)

    def blob(self, *key: object) -> str:
        data = repr(key).encode() * 3
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def file(self, path: str, target: str, *digests: str) -> FileEntry:
        data = b"".join(self.blobs[digest] for digest in digests)
        entry = FileEntry(
            path=f"{_FORMAT['release']}/{target}/{path}", size=len(data), sha256=hashlib.sha256(data).hexdigest(),
            mode=0o644, targets=(target,), blobs=digests,
        )  # fmt: skip
        self.files[entry.path] = entry
        return entry

    def wheel(self, number: int, target: str) -> Wheel:
        name, compiled = f"package-{number}", number % _COMPILED == 0
        tag = f"cp311-cp311-linux_{known_target(target).arch}" if compiled else "py3-none-any"
        digest = self.blob("wheel", number, target if compiled else "any")
        filename = f"package_{number}-{number % 40}.{number % 7}.0-{tag}.whl"
        self.file(f"wheels/{filename}", target, digest)
        for part in range(_INDEX_FILES):
            self.file(f"simple/{name}/part-{part}", target, self.blob("index", number, part))
        source = self.blob("sdist", number) if compiled else digest
        origin_name = f"{name}.tar.gz" if compiled else filename
        return Wheel(
            name=name, version=f"{number % 40}.{number % 7}.0", filename=filename, digest=digest,
            size=len(self.blobs[digest]), kind="sdist" if compiled else "wheel",
            origin=Artifact(name=origin_name, url=f"{_FORMAT['index']}/{origin_name}", sha256=source),
        )  # fmt: skip

    def venv(self, name: str, target: str, wheels: list[Wheel]) -> VenvEntry:
        layers = {
            wheel.name: (self.blob("source", wheel.digest), self.blob("code", wheel.digest, _PYTHONS[target]))
            for wheel in wheels
        }
        digests = [*(digest for pair in layers.values() for digest in pair), self.blob("end", name)]
        archive = self.file(f"venvs/{name}-1.tar.zst", target, *digests)
        return VenvEntry(
            name=name, target=target, python=_PYTHONS[target], install_path=f"/openstack/venvs/{name}-1",
            archive=archive.path, console_scripts=tuple(f"{name}-script-{one}" for one in range(20)),
            packages=tuple(
                PackageEntry(
                    name=wheel.name, version=wheel.version, wheel=wheel.filename, wheel_sha256=wheel.digest,
                    layers=layers[wheel.name], kind=wheel.kind, requested=wheel is wheels[0],
                )
                for wheel in wheels
            ),
            proof=ProofEntry(level="target", passed=True, checks=40),
        )  # fmt: skip


def make_release(work: Path, packages: int) -> Path:
    """Write an unsigned bundle of ``packages`` packages for each of three targets; return its directory."""
    maker = _Maker(packages)
    wheels = {target: [maker.wheel(number, target) for number in range(packages)] for target in TARGETS}
    places = [(f"service-{number // len(TARGETS)}", TARGETS[number % len(TARGETS)]) for number in range(VENVS)]
    held = {place: _some(place[0], wheels[place[1]]) for place in places}
    venvs = [maker.venv(*place, chosen) for place, chosen in held.items()]
    (work / "installer").write_bytes(b"#!/usr/bin/env python3\n")
    plan = BundlePlan(
        name="bench", version="1", sequence=1, floor=0, created=1, tool="bench",
        targets=tuple(
            TargetEntry(name=name, distro="debian", version="12", arch="x86_64", python=_PYTHONS[name], glibc="2.36")
            for name in TARGETS
        ),
        files=tuple(maker.files[path] for path in sorted(maker.files)), links=(), venvs=tuple(venvs),
        blob_sizes={digest: len(data) for digest, data in maker.blobs.items()},
        installer=work / "installer", evidence=list(_evidence(held)),
    )  # fmt: skip
    print(f"{len(plan.files)} files, {packages} packages for {len(TARGETS)} targets in {VENVS} venvs", flush=True)
    write_bundle(plan, lambda digest: io.BytesIO(maker.blobs[digest]), work / "bench-1-1", ignore)
    return work / "bench-1-1"


def _some(venv: str, wheels: list[Wheel]) -> list[Wheel]:
    """Return two of five wheels, the same for one venv wherever it is."""
    chosen = random.Random(venv)  # noqa: S311  # no secret
    return [wheel for wheel in wheels if chosen.random() < 2 / 5]


def _evidence(held: dict[tuple[str, str], list[Wheel]]) -> Iterator[tuple[str, bytes]]:
    lock = _lock(held)
    for path, data in lock_files(lock, {name: known_target(name) for name in TARGETS}).items():
        yield f"locks/{path}", data
    request = ProvenanceRequest(subjects={}, lock=lock, manifest="1" * 64, tool="bench")
    yield "provenance.json", make_provenance(request)
    for (venv, target), wheels in held.items():
        asked = SbomRequest(
            venv=venv, target=target, release="bench", version="1", python=_PYTHONS[target], install_path="/v",
            created=1, tool="bench",
            packages=tuple(SbomPackage(wheel=wheel, metadata=_metadata(wheel)) for wheel in wheels),
        )  # fmt: skip
        yield f"sbom/{target}/{venv}.cdx.json", make_sbom(asked)


def _metadata(wheel: Wheel) -> bytes:
    licence = _LICENCES[sum(wheel.name.encode()) % len(_LICENCES)]
    return f"Metadata-Version: 2.4\nName: {wheel.name}\nLicense-Expression: {licence}\n".encode()


def _lock(held: dict[tuple[str, str], list[Wheel]]) -> Lock:
    pins = {wheel.name: wheel.version for wheels in held.values() for wheel in wheels}
    lines = [f"{name}==={version}  # upper upper.txt:{line}" for line, (name, version) in enumerate(pins.items(), 1)]
    venvs = tuple(
        VenvLock(
            venv=venv,
            target=target,
            packages=tuple(
                LockedPackage(name=wheel.name, version=wheel.version, kind=wheel.kind, origin=wheel.origin)
                for wheel in sorted(wheels, key=lambda one: one.name)
            ),
        )
        for (venv, target), wheels in held.items()
    )
    return Lock(
        name="bench", version="1", sequence=1, created=1, inputs="0" * 64, resolver="uv", targets=TARGETS,
        venvs=venvs, layers=(LayerRecord(name="upper", location="https://pins.example/upper.txt", sha256="2" * 64),),
        effective={"release": "\n".join(lines) + "\n"},
    )  # fmt: skip

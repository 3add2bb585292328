"""What vouches for a bundle beside the signature: locks, SBOMs, provenance, proof reports; deterministic facts."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bundler.attest.provenance import ProvenanceRequest, make_provenance
from bundler.clock import stopwatch
from bundler.errors import WheelRefused
from bundler.events import Emit, StageFinished, StageStarted
from bundler.model.contents import FileEntry
from bundler.model.lock import Lock
from bundler.model.wheel import Wheel, WheelSet
from bundler.store.cas import Store
from bundler.version import own_version
from bundler.workflows.release_files import FinishedVenv

STAGE = "attest"
#: Tools whose version shapes the bytes of a bundle.
_TOOLS = ("installer", "pip", "uv", "virtualenv", "zstandard")


@dataclass(frozen=True, kw_only=True)
class EvidenceRequest:
    """What vouching is about: the lock and its directory, what was made of it, the files of a repo host."""

    lock: Lock
    lock_dir: Path
    venvs: Sequence[FinishedVenv]
    seeds: Sequence[WheelSet]
    pythons: Mapping[str, str]
    files: Iterable[FileEntry]


def make_evidence(request: EvidenceRequest, store: Store, emit: Emit) -> list[tuple[str, bytes]]:
    """Return the members of the evidence archive: path and bytes."""
    began = stopwatch()
    lock, venvs = request.lock, request.venvs
    emit(StageStarted(stage=STAGE, total=len(venvs) + len(request.seeds) + 1))
    members = list(_locks(request.lock_dir))
    for venv in venvs:
        place = f"{venv.folder}/{venv.plan.name}"
        members.append((f"proof/{place}.json", venv.report.to_json()))
        subject = _Subject(python=venv.plan.target.python.full_version, install_path=venv.plan.path)
        members.append((f"sbom/{place}.cdx.json", _sbom(lock, venv.wheels, subject, store)))
    for seed in request.seeds:
        subject = _Subject(python=request.pythons[seed.target])
        members.append((f"sbom/{seed.target}/_seed.cdx.json", _sbom(lock, seed, subject, store)))
    members.append(("provenance.json", _provenance(lock, request.files)))
    size = sum(len(data) for _, data in members)
    emit(StageFinished(stage=STAGE, seconds=stopwatch() - began, items=len(members), size=size))
    return members


def _locks(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield f"locks/{path.relative_to(directory).as_posix()}", path.read_bytes()


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What packages are for: a Python, and where they are installed, if that is known."""

    python: str
    install_path: str = ""


def _sbom(lock: Lock, wheels: WheelSet, subject: _Subject, store: Store) -> bytes:
    from bundler.attest.sbom import (  # noqa: PLC0415  # slow to import, and not wanted when nothing changed
        SbomPackage,
        SbomRequest,
        make_sbom,
    )

    packages = tuple(
        SbomPackage(
            wheel=wheel,
            metadata=metadata_of(wheel, store),
            dependencies=package.dependencies,
            requested=package.requested,
        )
        for wheel, package in zip(wheels.wheels, wheels.packages, strict=True)
    )
    request = SbomRequest(
        venv=wheels.venv,
        target=wheels.target,
        release=lock.name,
        version=lock.version,
        python=subject.python,
        install_path=subject.install_path,
        created=lock.created,
        tool=own_version(),
        packages=packages,
    )
    return make_sbom(request)


def metadata_of(wheel: Wheel, store: Store) -> bytes:
    """Return METADATA of a wheel in the store (core metadata specification).

    Raises:
        WheelRefused: It has none.
    """
    with store.open(wheel.digest) as file, zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if name.count("/") == 1 and name.endswith(".dist-info/METADATA"):
                return archive.read(name)
    raise WheelRefused(f"{wheel.filename} has no METADATA")


def _provenance(lock: Lock, files: Iterable[FileEntry]) -> bytes:
    request = ProvenanceRequest(
        subjects={entry.path: entry.sha256 for entry in files},
        lock=lock,
        manifest=lock.manifest,
        tool=own_version(),
        tools={tool: version(tool) for tool in _TOOLS},
    )
    return make_provenance(request)

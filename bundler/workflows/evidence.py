"""What vouches for a bundle beside the signature: locks, SBOMs, provenance, proof reports; deterministic facts."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from bundler.attest.provenance import ProvenanceRequest, make_provenance
from bundler.clock import stopwatch
from bundler.errors import WheelRefused
from bundler.events import Emit, StageFinished, StageStarted
from bundler.model.contents import FileEntry
from bundler.model.lock import Lock
from bundler.model.wheel import Wheel
from bundler.store.cas import Store
from bundler.version import own_version
from bundler.workflows.release_files import FinishedVenv

STAGE = "attest"
#: Tools whose version shapes the bytes of a bundle.
_TOOLS = ("installer", "pip", "uv", "virtualenv", "zstandard")


def make_evidence(
    lock: Lock, lock_dir: Path, venvs: Sequence[FinishedVenv], files: Iterable[FileEntry], store: Store, emit: Emit
) -> list[tuple[str, bytes]]:
    """Return the members of the evidence archive: path and bytes."""
    began = stopwatch()
    emit(StageStarted(stage=STAGE, total=len(venvs) + 1))
    members = list(_locks(lock_dir))
    for venv in venvs:
        place = f"{venv.folder}/{venv.plan.name}"
        members.append((f"proof/{place}.json", venv.report.to_json()))
        members.append((f"sbom/{place}.cdx.json", _sbom(lock, venv, store)))
    members.append(("provenance.json", _provenance(lock, files)))
    size = sum(len(data) for _, data in members)
    emit(StageFinished(stage=STAGE, seconds=stopwatch() - began, items=len(members), size=size))
    return members


def _locks(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield f"locks/{path.relative_to(directory).as_posix()}", path.read_bytes()


def _sbom(lock: Lock, venv: FinishedVenv, store: Store) -> bytes:
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
        for wheel, package in zip(venv.wheels.wheels, venv.wheels.packages, strict=True)
    )
    request = SbomRequest(
        venv=venv.plan.name,
        target=venv.folder,
        release=lock.name,
        version=lock.version,
        python=venv.plan.target.python.full_version,
        install_path=venv.plan.path,
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

"""What a bundle holds, in figures: wheels per target, archives per venv, volumes, and what sharing saved. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from bundler.model.contents import Contents, FileEntry, PackageEntry, SeedEntry, TargetEntry, VenvEntry, VolumeEntry

#: Where the index over all targets has wheels of several of them.
_SHARED = "simple/_common"
VolumeState: TypeAlias = Literal["present", "missing", "wrong size", "irregular"]


@dataclass(frozen=True, kw_only=True)
class SeenVolume:
    """A volume of ``bundle.json`` and how it lies on this medium; its bytes were not read."""

    entry: VolumeEntry
    state: VolumeState


@dataclass(frozen=True, kw_only=True)
class SeenSignature:
    """A signature file that was found, **not checked**; ``key`` is the fingerprint that it claims, or empty."""

    name: str
    signer: str
    key: str
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes: ``medium`` of the volumes, ``files`` of all files of a repo host, ``blobs`` of the blobs carried."""

    medium: int
    files: int
    blobs: int

    @property
    def saved(self) -> int:
        """Return the bytes that need not be carried because files share blobs (or a base has them)."""
        return self.files - self.blobs


@dataclass(frozen=True, kw_only=True)
class TargetView:
    """A target with its wheels as a repo host will hold them."""

    entry: TargetEntry
    wheels: int
    wheel_bytes: int
    venvs: int


@dataclass(frozen=True, kw_only=True)
class PackageView:
    """A package with the bytes of its layers inside the venv archive."""

    entry: PackageEntry
    size: int


@dataclass(frozen=True, kw_only=True)
class VenvView:
    """A venv with the bytes of its archive; ``own_size`` of them are in no other venv's archive."""

    entry: VenvEntry
    size: int
    own_size: int
    packages: tuple[PackageView, ...]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """All that ``bundle-build inspect`` shows. ``digest`` is the SHA-256 of SHA256SUMS."""

    contents: Contents
    digest: str
    targets: tuple[TargetView, ...]
    venvs: tuple[VenvView, ...]
    volumes: tuple[SeenVolume, ...]
    seeds: tuple[SeedEntry, ...] = ()
    signatures: tuple[SeenSignature, ...]
    sizes: Sizes

    def to_data(self) -> dict[str, Any]:
        """Return it as JSON values; documented in ``docs/reference/looking.md``."""
        contents = self.contents
        return {
            "id": contents.id,
            "name": contents.name,
            "version": contents.version,
            "sequence": contents.sequence,
            "floor": contents.floor,
            "created": contents.created,
            "tool": contents.tool,
            "base": contents.base,
            "sha256sums": self.digest,
            "targets": [_target_data(target) for target in self.targets],
            "venvs": [_venv_data(venv) for venv in self.venvs],
            "seeds": [asdict(seed) for seed in self.seeds],
            "volumes": [_volume_data(volume) for volume in self.volumes],
            "sizes": {**asdict(self.sizes), "saved": self.sizes.saved},
            "signatures": [{**asdict(signature), "verified": False} for signature in self.signatures],
        }


def blob_sizes(contents: Contents) -> dict[str, int]:
    """Return the size of every blob that a volume carries."""
    return {blob.sha256: blob.size for volume in contents.volumes for blob in volume.blobs}


def measure(contents: Contents) -> Sizes:
    """Return the bytes of the whole bundle."""
    return Sizes(
        medium=sum(volume.size for volume in contents.volumes),
        files=sum(file.size for file in contents.files),
        blobs=sum(blob_sizes(contents).values()),
    )


def is_wheel(file: FileEntry) -> bool:
    """Return whether a file of a repo host is a wheel, where a target has it; indexes may have it once more."""
    return file.path.endswith(".whl") and f"/{_SHARED}/" not in file.path


def view_targets(contents: Contents) -> tuple[TargetView, ...]:
    """Return every target with its figures."""
    views = []
    for target in contents.targets:
        wheels = [file for file in contents.files if target.name in file.targets and is_wheel(file)]
        views.append(
            TargetView(
                entry=target,
                wheels=len(wheels),
                wheel_bytes=sum(file.size for file in wheels),
                venvs=sum(venv.target == target.name for venv in contents.venvs),
            )
        )
    return tuple(views)


def view_venvs(contents: Contents) -> tuple[VenvView, ...]:
    """Return every venv with its figures."""
    sizes = blob_sizes(contents)
    files = {file.path: file for file in contents.files}
    archives = {files[venv.archive].path: files[venv.archive] for venv in contents.venvs if venv.archive in files}
    users = Counter(digest for archive in archives.values() for digest in set(archive.blobs))
    return tuple(_view_venv(venv, archives.get(venv.archive), sizes, users) for venv in contents.venvs)


def _view_venv(
    venv: VenvEntry, archive: FileEntry | None, sizes: Mapping[str, int], users: Mapping[str, int]
) -> VenvView:
    blobs = archive.blobs if archive else ()
    return VenvView(
        entry=venv,
        size=archive.size if archive else 0,
        own_size=sum(sizes.get(digest, 0) for digest in blobs if users[digest] == 1),
        packages=tuple(
            PackageView(entry=package, size=sum(sizes.get(digest, 0) for digest in package.layers))
            for package in venv.packages
        ),
    )


def _target_data(view: TargetView) -> dict[str, Any]:
    return {
        **asdict(view.entry),
        "wheels": {"count": view.wheels, "size": view.wheel_bytes},
        "venvs": view.venvs,
    }


def _venv_data(view: VenvView) -> dict[str, Any]:
    venv = view.entry
    return {
        "name": venv.name,
        "target": venv.target,
        "python": venv.python,
        "install_path": venv.install_path,
        "archive": venv.archive,
        "size": view.size,
        "own_size": view.own_size,
        "packages": [{**asdict(package.entry), "size": package.size} for package in view.packages],
        "console_scripts": list(venv.console_scripts),
        "runtime_packages": list(venv.runtime_packages),
        "proof": asdict(venv.proof),
    }


def _volume_data(volume: SeenVolume) -> dict[str, Any]:
    entry = volume.entry
    return {
        "name": entry.name,
        "target": entry.target,
        "size": entry.size,
        "blobs": len(entry.blobs),
        "state": volume.state,
    }

"""Small odd wheels, put together here, and the venvs that are made of them."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from virtualenv.seed.wheels.embed import get_embed_wheel

from bundler.archive.frames import MAX_HEADER, content_size, decompress_frame
from bundler.archive.tar import TarEntry
from bundler.archive.untar import members
from bundler.files import chunks
from bundler.model.lock import Artifact, Origin
from bundler.model.target import Python
from bundler.model.wheel import Wheel
from bundler.store.cas import Blob, Store
from bundler.venvs.archive import ArchiveRequest, VenvArchive, concatenate, make_archives
from bundler.venvs.frame import FrameRequest
from bundler.venvs.layers import Layer
from bundler.venvs.make_layers import LayerRequest, make_layers

CLEAN = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


@dataclass(frozen=True, kw_only=True)
class OddWheel:
    """A wheel to be written. ``files`` are members by path; ``executable`` those that are; the rest is usual."""

    name: str
    files: Mapping[str, bytes | str] = field(default_factory=dict)
    entry_points: str = ""
    executable: Sequence[str] = ()
    version: str = "1.0"
    requires: Sequence[str] = ()
    metadata: Mapping[str, bytes | str] = field(default_factory=dict)

    @property
    def dist_info(self) -> str:
        """Return the name of its metadata directory."""
        return f"{self.name}-{self.version}.dist-info"

    def members(self) -> dict[str, bytes]:
        """Return all members by path, but for RECORD."""
        metadata = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n"
        metadata += "".join(f"Requires-Dist: {one}\n" for one in self.requires)
        wheel = "Wheel-Version: 1.0\nGenerator: here\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        found: dict[str, bytes | str] = {**self.files}
        found |= {f"{self.dist_info}/METADATA": metadata, f"{self.dist_info}/WHEEL": wheel}
        if self.entry_points:
            found[f"{self.dist_info}/entry_points.txt"] = self.entry_points
        found |= {f"{self.dist_info}/{name}": data for name, data in self.metadata.items()}
        return {path: data.encode() if isinstance(data, str) else data for path, data in found.items()}

    def write(self, folder: Path) -> Path:
        """Write it into ``folder``."""
        path = folder / f"{self.name}-{self.version}-py3-none-any.whl"
        found = self.members()
        rows = [f'"{name}",sha256={_encoded(data)},{len(data)}' for name, data in found.items()]
        record = "\n".join([*rows, f"{self.dist_info}/RECORD,,"])
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {**found, f"{self.dist_info}/RECORD": record.encode()}.items():
                info = zipfile.ZipInfo(name, (2020, 2, 2, 2, 2, 2))
                info.external_attr = (0o100755 if name in self.executable else 0o100644) << 16
                archive.writestr(info, data)
        return path


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A store, a folder for wheels, and the steps from a wheel to an unpacked venv."""

    store: Store
    folder: Path
    python: Python

    def wheel(self, odd: OddWheel, *, origin: Origin | None = None) -> Wheel:
        """Write a wheel and put it into the store."""
        self.folder.mkdir(exist_ok=True)
        return self.stored(odd.write(self.folder), name=odd.name.replace("_", "-"), origin=origin)

    def stored(self, path: Path, *, name: str = "", origin: Origin | None = None) -> Wheel:
        """Put a wheel file into the store."""
        blob = self.store.put_file(path)
        first, version, *_ = path.name.split("-")
        artifact = Artifact(name=path.name, url="https://index.example/x", sha256=blob.digest)
        return Wheel(
            name=name or first,
            version=version,
            filename=path.name,
            digest=blob.digest,
            size=blob.size,
            kind="git" if origin else "wheel",
            origin=origin or artifact,
        )

    def layer(self, wheel: Wheel | OddWheel) -> Layer:
        """Make the layer of one wheel."""
        made = wheel if isinstance(wheel, Wheel) else self.wheel(wheel)
        return make_layers(self.store, [LayerRequest(wheel=made, python=self.python)]).of(made, self.python)

    def archive(self, *wheels: Wheel | OddWheel, **frame: Any) -> VenvArchive:
        """Make the archive of a venv called ``odd``."""
        layers = [self.layer(wheel) for wheel in wheels]
        values = {"name": "odd", "python": self.python, "install_path": "/opt/odd-1.0", **frame}
        (archive,) = make_archives(self.store, [ArchiveRequest(frame=FrameRequest(**values), layers=layers)])
        return archive

    def unpacked(self, into: Path, *wheels: Wheel | OddWheel, **frame: Any) -> Path:
        """Make a venv and unpack it with stock tar."""
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "venv.tar.zst"
        file.write_bytes(b"".join(concatenate(self.store, self.archive(*wheels, **frame).blobs)))
        into.mkdir(parents=True)
        subprocess.run(["tar", "--zstd", "-xf", file, "-C", into], check=True)
        return into

    def content(self, blob: Blob | None) -> dict[str, tuple[TarEntry, bytes]]:
        """Return the members of a layer with their contents."""
        assert blob is not None
        with self.store.open(blob.digest) as file:
            size = content_size(file.read(MAX_HEADER))
            file.seek(0)
            found = members(decompress_frame(chunks(file), size))
            return {entry.path: (entry, b"".join(content)) for entry, content in found}

    def files(self, blob: Blob | None) -> dict[str, bytes]:
        """Return the regular files of a layer with their contents."""
        return {path: data for path, (entry, data) in self.content(blob).items() if entry.kind == "file"}


@pytest.fixture(scope="session")
def python() -> Python:
    """Return the interpreter of this host's distribution."""
    code = "import os, platform, sys; print(platform.python_version(), os.path.realpath(sys.executable))"
    done = subprocess.run(["/usr/bin/python3", "-I", "-c", code], capture_output=True, text=True, check=True)
    version, executable = done.stdout.split()
    return Python(full_version=version, executable=executable)


@pytest.fixture
def bench(tmp_path: Path, python: Python) -> Bench:
    """Return an empty store and what works on it."""
    return Bench(store=Store(tmp_path / "store"), folder=tmp_path / "wheels", python=python)


@pytest.fixture(scope="session")
def pip_wheel(python: Python) -> Path:
    """Return a pip wheel that needs no network: virtualenv carries one."""
    wheel = get_embed_wheel("pip", python.version)
    assert wheel is not None
    return Path(wheel.path)


def call(*argv: str | Path, cwd: Path | None = None, check: bool = True, **env: str) -> str:
    """Run a program with a bare environment; return stdout and stderr."""
    done = subprocess.run(
        [os.fspath(arg) for arg in argv],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**CLEAN, **env},
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(name="call")
def call_fixture() -> Any:
    """Return :func:`call`: fixtures are how test modules share helpers."""
    return call


@pytest.fixture(name="odd")
def odd_fixture() -> type[OddWheel]:
    """Return :class:`OddWheel`, for the same reason."""
    return OddWheel

"""Shared libraries compiled on the spot, root file systems that hold them, and wheels."""

from __future__ import annotations

import io
import os
import platform
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from bundler.model.lock import Artifact
from bundler.model.target import Target, known_target
from bundler.model.wheel import Wheel
from bundler.process import Command, run
from bundler.store.cas import Store
from bundler.venvs.libraries import LibraryRequest
from tests.bare import make_bare

ARCH = platform.machine()
#: Where distributions put libraries, in these tests.
LIBRARIES = f"/usr/lib/{ARCH}-linux-gnu"
INSTALL = "/opt/venvs/web-1"
#: A machine that this one is not.
FOREIGN = "x86_64" if ARCH == "aarch64" else "aarch64"
#: Byte offset of e_machine, and its values (ELF gABI).
_MACHINE, _VALUES = 18, {"x86_64": 62, "aarch64": 183}

Files: TypeAlias = Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """Makes shared libraries without a C library, so that only what a test names is needed."""

    folder: Path

    def library(self, name: str, *needs: str, flags: Sequence[str] = (), versions: Sequence[str] = ()) -> bytes:
        """Return a library whose DT_SONAME is ``name`` and that needs ``needs``, made before.

        It defines function f_<stem>, under each of ``versions`` a further one.
        """
        stem = name.partition(".")[0].removeprefix("lib").replace("-", "_")
        code = [f"int f_{stem}(void) {{ return 1; }}"]
        for need in needs:
            other = need.partition(".")[0].removeprefix("lib").replace("-", "_")
            code += [f"int f_{other}(void);", f"int from_{stem}_{other}(void) {{ return f_{other}(); }}"]
        more = list(flags)
        if versions:
            script = "".join(f"{one} {{ global: f_{stem}{n or ''}; }};\n" for n, one in enumerate(versions))
            code += [f"int f_{stem}{n}(void) {{ return {n}; }}" for n in range(1, len(versions))]
            (self.folder / f"{name}.map").write_text(script)
            more.append(f"-Wl,--version-script={self.folder / name}.map")
        (self.folder / f"{name}.c").write_text("\n".join(code))
        argv = ["cc", "-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{name}", "-o", name, f"{name}.c"]
        run(Command(argv=[*argv, *(f"./{need}" for need in needs), *more], cwd=self.folder))
        return (self.folder / name).read_bytes()


def foreign(data: bytes) -> bytes:
    """Return an ELF file that says it is for another machine; its dynamic section reads the same."""
    return data[:_MACHINE] + _VALUES[FOREIGN].to_bytes(2, "little") + data[_MACHINE + 2 :]


def put(root: Path, files: Files, package: str = "") -> None:
    """Write files below ``root``; with ``package`` dpkg knows them as that one's, installed."""
    for path, data in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    if package:
        name, _, depends = package.partition(" needs ")
        info = root / "var/lib/dpkg/info"
        info.mkdir(parents=True, exist_ok=True)
        (info / f"{name}.list").write_text("\n".join(files))
        paragraph = f"Package: {name}\nStatus: install ok installed\nVersion: 1.0-1\nArchitecture: all\n"
        with (info.parent / "status").open("a") as status:
            status.write(f"{paragraph}Depends: {depends}\n\n" if depends else f"{paragraph}\n")


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Makes wheels and requests."""

    store: Store
    target: Target

    def wheel(self, name: str, files: Files, version: str = "1.0") -> Wheel:
        """Return a wheel that holds ``files``, in the store."""
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            for path, data in {**files, f"{name}-{version}.dist-info/METADATA": b"Name: x\n"}.items():
                archive.writestr(path, data)
        blob = self.store.put(sink.getvalue())
        filename = f"{name}-{version}-py3-none-any.whl"
        origin = Artifact(name=filename, url="https://index.example/x", sha256=blob.digest)
        return Wheel(
            name=name,
            version=version,
            filename=filename,
            digest=blob.digest,
            size=blob.size,
            kind="wheel",
            origin=origin,
        )

    def request(self, root: Path, *wheels: Wheel, **more: Any) -> LibraryRequest:
        """Return a request for venv ``web``."""
        values = {"venv": "web", "target": self.target, "install_path": INSTALL, "root": root, **more}
        return LibraryRequest(wheels=wheels, **values)


@pytest.fixture
def cc(tmp_path: Path) -> Compiler:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path / "cc"
    folder.mkdir()
    return Compiler(folder=folder)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(store=Store(tmp_path / "store"), target=known_target(f"debian-12-{ARCH}"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a root with nothing but dpkg's own record."""
    path = tmp_path / "root"
    put(path, {}, "apt")
    return path


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return what makes root file systems, shared by all workers of this run."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "shared-libraries"
    shared.mkdir(exist_ok=True)
    return lambda suite, *packages: make_bare(suite, shared, *packages)

"""Wheels and source archives made on the spot, for tests of building and checking."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from bundler.buildenv.host import HostEnvironment
from bundler.buildenv.host_target import host_target
from bundler.model.lock import Artifact, LockedPackage
from bundler.model.target import Target
from bundler.store.cas import Store

MakeWheel: TypeAlias = Callable[..., Path]
MakeSdist: TypeAlias = Callable[..., LockedPackage]

#: A build backend inside the source tree: needs nothing but the standard library.
BACKEND = """
import base64, hashlib, os, pathlib, subprocess, sysconfig, time, zipfile

NAME, VERSION = {name!r}, {version!r}
TAG = {tag!r}
REQUIRES = {requires!r}

def get_requires_for_build_wheel(config_settings=None):
    print("asked for requirements with", config_settings)
    return REQUIRES

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = pathlib.Path(metadata_directory, f"{{NAME}}-{{VERSION}}.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text(metadata())
    return folder.name

def metadata():
    return f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\nRequires-Dist: dependency>=1\\n"

def files():
    source = pathlib.Path("src")
    return {{path.name: path.read_bytes() for path in sorted(source.iterdir())}} if source.is_dir() else {{}}

{extra}

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    global CONFIG
    CONFIG = config_settings
    info = f"{{NAME}}-{{VERSION}}.dist-info"
    python = "cp" + sysconfig.get_config_var("py_version_nodot")
    tag = TAG or f"{{python}}-{{python}}-linux_{{os.uname().machine}}"
    members = dict(files())
    members[f"{{info}}/METADATA"] = metadata().encode()
    members[f"{{info}}/WHEEL"] = f"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: {{tag}}\\n".encode()
    rows = []
    for name, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{{name}},sha256={{digest}},{{len(data)}}")
    members[f"{{info}}/RECORD"] = "\\n".join([*rows, f"{{info}}/RECORD,,"]).encode() + b"\\n"
    filename = f"{{NAME}}-{{VERSION}}-{{tag}}.whl"
    stamp = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
    with zipfile.ZipFile(os.path.join(wheel_directory, filename), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            entry = zipfile.ZipInfo(name, stamp)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)
    return filename
"""
EXTENSION = b"""
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "spam", __FILE__, -1, NULL};
PyMODINIT_FUNC PyInit_spam(void) { return PyModule_Create(&module); }
"""
COMPILE = """
def files():
    include = sysconfig.get_paths()["include"]
    flags = ["-g", *os.environ.get("CFLAGS", "").split(), f"-I{include}"]
    pathlib.Path("made").mkdir()
    target = os.path.abspath("made/spam.so")
    subprocess.run(["cc", "-shared", "-fPIC", *flags, "-o", target, os.path.abspath("spam.c")], check=True)
    return {"spam.so": pathlib.Path(target).read_bytes()}
"""
PYPROJECT = '[build-system]\nrequires = {static}\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture(scope="session")
def target() -> Target:
    return host_target()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def environment(store: Store, target: Target) -> HostEnvironment:
    return HostEnvironment(store.tmp, target=target)


def record_of(files: Mapping[str, bytes], info: str) -> bytes:
    rows = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f'"{name}",sha256={digest},{len(data)}')
    return "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()


@pytest.fixture
def make_wheel(tmp_path: Path) -> MakeWheel:
    """Return a function that writes a wheel: good unless told otherwise by ``change`` or ``late``."""

    def make(
        name: str = "demo",
        version: str = "1.0",
        *,
        tag: str = "py3-none-any",
        files: Mapping[str, bytes] | None = None,
        change: Callable[[dict[str, bytes]], None] = lambda _files: None,
        late: Callable[[zipfile.ZipFile], None] = lambda _archive: None,
    ) -> Path:
        info = f"{name}-{version}.dist-info"
        members = {f"{name}/__init__.py": b"x = 1\n", **(files or {})}
        members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
        members[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
        members[f"{info}/RECORD"] = record_of(members, info)
        change(members)
        path = tmp_path / f"{name}-{version}-{tag}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
            late(archive)
        return path

    return make


@pytest.fixture
def make_sdist(store: Store) -> MakeSdist:
    """Return a function that puts an sdist with its own backend into the store, and gives its locked package."""

    def make(
        name: str = "demo",
        version: str = "1.0",
        *,
        files: Mapping[str, bytes] | None = None,
        tag: str | None = "py3-none-any",
        requires: tuple[str, ...] = (),
        static: tuple[str, ...] = (),
        extra: str = "",
        locked_version: str = "",
    ) -> LockedPackage:
        backend = BACKEND.format(name=name, version=version, tag=tag, requires=list(requires), extra=extra)
        members = {
            "pyproject.toml": PYPROJECT.format(static=list(static)).encode(),
            "backend.py": backend.encode(),
            "src/demo.py": b"x = 1\n",
            **(files or {}),
        }
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as archive:
            for member, content in members.items():
                entry = tarfile.TarInfo(f"{name}-{version}/{member}")
                entry.size, entry.mtime = len(content), 1_600_000_000
                archive.addfile(entry, io.BytesIO(content))
        blob = store.put(data.getvalue())
        filename = f"{name}-{version}.tar.gz"
        origin = Artifact(name=filename, url=f"https://index.example/{filename}", sha256=blob.digest, size=blob.size)
        return LockedPackage(name=name, version=locked_version or version, kind="sdist", origin=origin)

    return make


@pytest.fixture
def make_extension(make_sdist: MakeSdist) -> MakeSdist:
    """Return a function that makes the sdist of an extension module, as make_sdist does."""

    def make(name: str) -> LockedPackage:
        return make_sdist(name, tag=None, files={"spam.c": EXTENSION}, extra=COMPILE)

    return make

"""A package index on the loopback: small wheels and sdists that tests make, served by the standard library."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import itertools
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bundler.buildenv.host_target import host_target
from bundler.model.index import IndexConfig, IndexSpec
from bundler.model.target import Target, known_target

LOGIN = ("reader", "s3cr3t-word")
BACKEND = '''
"""A build backend without requirements of its own: metadata and wheels from two lines of PROJECT."""
import base64, hashlib, os, pathlib, zipfile

def row(path, text):
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    return f"{path},sha256={digest},{len(text.encode())}\\n"

NAME, VERSION, *REQUIRES = pathlib.Path("PROJECT").read_text().splitlines()
REQUIRES = [line.removeprefix(os.environ.get("SYSTEM", "none") + ": ") for line in REQUIRES]
REQUIRES = [line for line in REQUIRES if ": " not in line]
METADATA = f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: {VERSION}\\n" + "".join(
    f"Requires-Dist: {line}\\n" for line in REQUIRES
)

def get_requires_for_build_wheel(settings=None):
    path = pathlib.Path("HOOK")
    return path.read_text().splitlines() if path.exists() else []

def prepare_metadata_for_build_wheel(directory, settings=None):
    mark = pathlib.Path("MARK")
    if mark.exists():
        pathlib.Path(mark.read_text()).write_text("built")
    info = pathlib.Path(directory, f"{NAME}-{VERSION}.dist-info")
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    return info.name

def build_wheel(directory, settings=None, metadata=None):
    name = f"{NAME}-{VERSION}-py3-none-any.whl"
    info = f"{NAME}-{VERSION}.dist-info"
    files = {
        f"{NAME}.py": "",
        f"{info}/METADATA": METADATA,
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files[f"{info}/RECORD"] = "".join(row(*item) for item in files.items()) + f"{info}/RECORD,,\\n"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return name
'''
_numbers = itertools.count()


def metadata_text(
    name: str, version: str, requires: Sequence[str] = (), extras: Sequence[str] = (), python: str = ""
) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {line}" for line in requires]
    lines += [f"Requires-Python: {python}"] if python else []
    return "\n".join(lines) + "\n\nA description.\n"


def _wheel_bytes(name: str, version: str, tag: str, metadata: str) -> bytes:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(text.encode())}\n")
    files[f"{info}/RECORD"] = "".join(rows) + f"{info}/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return buffer.getvalue()


def source_files(name: str, version: str, requires: Sequence[str] = (), build: Sequence[str] = ()) -> dict[str, str]:
    """Return a source; a requirement that begins with ``NAME: `` holds where SYSTEM is NAME in the environment."""
    listed = ", ".join(f'"{line}"' for line in build)
    system = f'[build-system]\nrequires = [{listed}]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    return {
        "pyproject.toml": system,
        "backend.py": BACKEND,
        "PROJECT": "\n".join((name, version, *requires)) + "\n",
    }


@dataclass
class LocalIndex:
    """One index below the server's root; everything published is there at once."""

    url: str
    root: Path
    name: str = "local"
    _links: dict[str, list[str]] = field(default_factory=dict)

    def wheel(
        self,
        name: str,
        version: str,
        requires: Sequence[str] = (),
        *,
        tag: str = "py3-none-any",
        extras: Sequence[str] = (),
        python: str = "",
        yanked: str = "",
    ) -> Path:
        data = _wheel_bytes(name, version, tag, metadata_text(name, version, requires, extras, python))
        return self._publish(name, f"{name}-{version}-{tag}.whl", data, yanked)

    def sdist(
        self,
        name: str,
        version: str,
        requires: Sequence[str] = (),
        *,
        build: Sequence[str] = (),
        hook: str = "",
        mark: str = "",
        backend: str = "",
        static: bool = False,
    ) -> Path:
        files = source_files(name, version, requires, build)
        described = metadata_text(name, version, [line for line in requires if ": " not in line])
        files["PKG-INFO"] = described.replace("2.1", "2.2", 1) if static else described
        if backend:
            files["backend.py"] = backend
        if hook:
            files["HOOK"] = hook
        if mark:
            files["MARK"] = mark
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(f"{name}-{version}/{path}")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        return self._publish(name, f"{name}-{version}.tar.gz", buffer.getvalue(), "")

    def _publish(self, name: str, filename: str, data: bytes, yanked: str) -> Path:
        path = self.root / "files" / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        project = name.replace("_", "-").lower()
        reason = f' data-yanked="{html.escape(yanked)}"' if yanked else ""
        address = f"../../files/{filename}#sha256={hashlib.sha256(data).hexdigest()}"
        self._links.setdefault(project, []).append(f'<a href="{address}"{reason}>{filename}</a><br>')
        page = self.root / "simple" / project / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("<!DOCTYPE html><html><body>" + "".join(self._links[project]) + "</body></html>")
        return path

    def spec(self, *bound: str, name: str = "") -> IndexSpec:
        return IndexSpec(name=name or self.name, url=self.url, packages=bound)

    def config(self, **more: object) -> IndexConfig:
        return IndexConfig(indexes=(self.spec(),), **more)  # type: ignore[arg-type]


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/private") and self.headers.get("Authorization") != _expected():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


def _expected() -> str:
    return "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    root = tmp_path_factory.mktemp("served")

    class Handler(_Handler):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, directory=str(root), **kwargs)  # type: ignore[arg-type]

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}", root
        httpd.shutdown()
        thread.join()


@dataclass
class Indexes:
    """Makes indexes that no other test shares."""

    server: tuple[str, Path]

    def make(self, name: str, *, private: bool = False) -> LocalIndex:
        path = f"{'private' if private else 'open'}-{next(_numbers)}-{name}"
        address, root = self.server
        (root / path / "simple").mkdir(parents=True)
        return LocalIndex(url=f"{address}/{path}/simple", root=root / path, name=name)


@pytest.fixture
def indexes(server: tuple[str, Path]) -> Indexes:
    return Indexes(server)


@pytest.fixture
def index(indexes: Indexes) -> LocalIndex:
    return indexes.make("local")


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep uv's and pip's caches of these indexes apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        yield


@pytest.fixture(scope="session")
def host() -> Target:
    return host_target()


@pytest.fixture
def bookworm() -> Target:
    return known_target("debian-12-x86_64")


@pytest.fixture
def trixie_arm() -> Target:
    return known_target("debian-13-aarch64")


@pytest.fixture
def write_source() -> object:
    def write(directory: Path, name: str, version: str, requires: Sequence[str] = ()) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in source_files(name, version, requires).items():
            (directory / path).write_text(text)
        return directory

    return write

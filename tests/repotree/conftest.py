"""A release of small wheels as a repo host has it, and a web server that keeps a record."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bundler.buildenv.host_target import host_target
from bundler.model.contents import FileEntry, LinkEntry
from bundler.model.lock import Artifact, LockedPackage
from bundler.model.wheel import Wheel, WheelSet
from bundler.store.cas import Store
from bundler.workflows.release_files import wheel_entries, without_repeats
from bundler.workflows.release_index import index_entries
from tests.bundles import Keys, installer, keys, make_bundle
from tests.deploy.scene import Scene

__all__ = ["installer", "keys", "make_bundle"]

ROOT = "os-releases/33.0.1"
HERE = host_target().name
JSON = "application/vnd.pypi.simple.v1+json"


def wheel_bytes(name: str, version: str, tag: str, requires: Sequence[str] = (), python: str = "") -> bytes:
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {line}" for line in requires] + ([f"Requires-Python: {python}"] if python else [])
    files = {
        f"{name}.py": f"tag = {tag!r}\n",
        f"{info}/METADATA": "\n".join(lines) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},1\n"
        for path, text in files.items()
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": "".join(rows)}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return buffer.getvalue()


@dataclass
class Bench:
    """Wheels in a store, and what a release makes of them."""

    store: Store

    def wheel(
        self, name: str, version: str, tag: str = "py3-none-any", *, yanked: str = "", **more: Any
    ) -> tuple[Wheel, LockedPackage]:
        data = wheel_bytes(name, version, tag, **more)
        blob = self.store.put(data)
        filename = f"{name}-{version}-{tag}.whl"
        plain = name.replace("_", "-").lower()
        origin = Artifact(name=filename, url=f"https://index.example/{filename}", sha256=blob.digest, size=blob.size)
        wheel = Wheel(
            name=plain,
            version=version,
            filename=filename,
            digest=blob.digest,
            size=blob.size,
            kind="wheel",
            origin=origin,
        )
        return wheel, LockedPackage(name=plain, version=version, kind="wheel", origin=origin, yanked=yanked)

    def set(self, target: str, *found: tuple[Wheel, LockedPackage], venv: str = "web") -> WheelSet:
        return WheelSet(
            venv=venv,
            target=target,
            wheels=tuple(wheel for wheel, _ in found),
            packages=tuple(package for _, package in found),
        )

    def entries(self, *sets: WheelSet) -> tuple[tuple[FileEntry, ...], tuple[LinkEntry, ...]]:
        files, links = index_entries(sets, ROOT, self.store)
        return without_repeats([*wheel_entries(sets, ROOT), *files]), links

    def lay_out(self, root: Path, targets: Sequence[str], *sets: WheelSet) -> Path:
        """Write what a host with these targets holds."""
        files, links = self.entries(*sets)
        for file in files:
            if set(file.targets) & set(targets):
                path = root / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                with self.store.open(file.sha256) as blob:
                    path.write_bytes(blob.read())
        for link in links:
            if set(link.targets) & set(targets):
                (root / link.path).parent.mkdir(parents=True, exist_ok=True)
                (root / link.path).symlink_to(link.to)
        return root


@dataclass
class Server:
    """Where it answers, and the paths that it was asked for."""

    url: str
    paths: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)

    def asked(self, end: str) -> list[str]:
        return [path for path in self.paths if path.endswith(end)]


class _Handler(SimpleHTTPRequestHandler):
    """Static files; a directory is its page in the form that the client prefers (PEP 691)."""

    record: Server

    def send_head(self) -> Any:
        self.record.paths.append(self.path)
        if self.path.endswith("/") and JSON in self.headers.get("Accept", ""):
            self.path += "index.json"
        return super().send_head()

    def guess_type(self, path: Any) -> str:
        kind = JSON if str(path).endswith("index.json") else super().guess_type(path)
        self.record.types.append(kind)
        return kind

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _PlainHandler(_Handler):
    """The same without a choice, as a web server does that nobody configured."""

    def send_head(self) -> Any:
        self.record.paths.append(self.path)
        return SimpleHTTPRequestHandler.send_head(self)


def serving(root: Path, *, negotiating: bool) -> Iterator[Server]:
    record = Server("")
    base = _Handler if negotiating else _PlainHandler
    handler = type("Handler", (base,), {"record": record})
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        record.url = f"http://127.0.0.1:{server.server_port}"
        yield record
        server.shutdown()


@pytest.fixture
def scene(tmp_path: Path, keys: Keys, installer: Path) -> Scene:
    return Scene(tmp_path, keys, installer)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Store(tmp_path / "store"))


@dataclass(frozen=True)
class Client:
    """Real pip or uv that installs into a directory, with no configuration and no cache."""

    home: Path

    def run(self, *arguments: str, fails: bool = False) -> str:
        env = {key: value for key, value in os.environ.items() if not key.lower().startswith(("pip_", "uv_", "http"))}
        env |= {"PIP_CONFIG_FILE": os.devnull, "HOME": str(self.home), "UV_CACHE_DIR": str(self.home / "cache")}
        env |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "UV_NO_CONFIG": "1", "UV_PYTHON": sys.executable}
        done = subprocess.run(arguments, env=env, capture_output=True, text=True, check=False, cwd=self.home)
        assert bool(done.returncode) == fails, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def pip(self, *arguments: str, fails: bool = False) -> str:
        command = (sys.executable, "-m", "pip", "install", "--no-cache-dir")
        return self.run(*command, *arguments, fails=fails)

    def uv(self, *arguments: str, fails: bool = False) -> str:
        uv = str(Path(sys.executable).parent / "uv")
        return self.run(uv, "pip", "install", *arguments, fails=fails)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    home = tmp_path / "client"
    home.mkdir()
    return Client(home)

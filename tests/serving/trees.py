"""Roots of repo hosts with indexes, made by hand of tiny wheels, and an index behind them that counts."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

TARGET = "debian-12-x86_64"
BASE = f"os-releases/33/{TARGET}"
JSON, V1_HTML, HTML = "application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.v1+html", "text/html"


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class TinyWheel:
    """A wheel of one module that says its version; ``needs`` are its requirements."""

    name: str
    version: str
    needs: tuple[str, ...] = ()
    tag: str = "py3-none-any"

    @property
    def filename(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}-{self.tag}.whl"

    @property
    def metadata(self) -> bytes:
        needs = "".join(f"Requires-Dist: {need}\n" for need in self.needs)
        return f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n{needs}".encode()

    @property
    def data(self) -> bytes:
        stem = f"{self.name.replace('-', '_')}-{self.version}"
        module = re.sub(r"[-.]", "_", self.name.lower())
        wheel = f"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: {self.tag}\n"
        members = {
            f"{module}.py": f"VERSION = {self.version!r}\n".encode(),
            f"{stem}.dist-info/METADATA": self.metadata,
            f"{stem}.dist-info/WHEEL": wheel.encode(),
        }
        record = "".join(
            f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
            for path, data in members.items()
        )
        members[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n".encode()
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for path, data in members.items():
                archive.writestr(zipfile.ZipInfo(path), data)
        return file.getvalue()


#: What the release has. "Foo.Bar" is written so by its author.
FOO, BASE_WHEEL = TinyWheel("Foo.Bar", "1.0", ("base>=1",)), TinyWheel("base", "1.5")
RELEASE = (FOO, BASE_WHEEL)


def page(project: str, urls: Mapping[str, TinyWheel]) -> dict[str, bytes]:
    """Return index.html and index.json of a project; ``urls`` say where its wheels are."""
    files, rows = [], ""
    for url, wheel in urls.items():
        digest, core = hashlib.sha256(wheel.data).hexdigest(), hashlib.sha256(wheel.metadata).hexdigest()
        rows += f'<a href="{url}#sha256={digest}" data-core-metadata="sha256={core}">{wheel.filename}</a><br>\n'
        file = {
            "filename": wheel.filename,
            "url": url,
            "hashes": {"sha256": digest},
            "core-metadata": {"sha256": core},
        }
        files.append(file)
    found = {"meta": {"api-version": "1.0"}, "name": project, "files": files}
    html = f"<!DOCTYPE html><html><head><title>{project}</title></head><body>\n{rows}</body></html>\n"
    return {"index.html": html.encode(), "index.json": json.dumps(found).encode()}


def listing(projects: list[str]) -> dict[str, bytes]:
    rows = "".join(f'<a href="{project}/">{project}</a><br>\n' for project in projects)
    found = {"meta": {"api-version": "1.0"}, "projects": [{"name": project} for project in projects]}
    return {
        "index.html": f"<!DOCTYPE html><html><body>\n{rows}</body></html>\n".encode(),
        "index.json": json.dumps(found).encode(),
    }


def release_files(*wheels: TinyWheel, target: str = TARGET) -> dict[str, bytes]:
    """Return the files of a release for one target, and of its index over all targets, by path."""
    base = f"os-releases/33/{target}"
    files: dict[str, bytes] = {}
    for wheel in wheels:
        files[f"{base}/wheels/{wheel.filename}"] = wheel.data
        files[f"{base}/wheels/{wheel.filename}.metadata"] = wheel.metadata
        project = normalised(wheel.name)
        for name, data in page(project, {f"../_wheels/{wheel.filename}": wheel}).items():
            files[f"{base}/simple/{project}/{name}"] = data
        if "linux" not in wheel.tag:
            for name, data in page(project, {f"../_{target}/{wheel.filename}": wheel}).items():
                files[f"os-releases/33/simple/{project}/{name}"] = data
    projects = sorted({normalised(wheel.name) for wheel in wheels})
    for name, data in listing(projects).items():
        files[f"{base}/simple/{name}"] = data
        files[f"os-releases/33/simple/{name}"] = data
    files[f"{base}/wheels/index.html"] = "".join(
        f'<a href="{w.filename}">{w.filename}</a>\n' for w in wheels
    ).encode()
    return files


def release_links(target: str = TARGET) -> dict[str, str]:
    return {
        f"os-releases/33/{target}/simple/_wheels": "../wheels",
        f"os-releases/33/simple/_{target}": f"../{target}/wheels",
        f"simple/{target}": f"../os-releases/33/{target}/simple",
        "simple/all": "../os-releases/33/simple",
    }


def put(root: Path, files: Mapping[str, bytes], links: Mapping[str, str]) -> None:
    """Put files below ``root`` as a repo host serves them: through a view."""
    tree = root / ".bundles" / "views" / "1" / "tree"
    for path, data in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    for path, to in links.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).symlink_to(to)
    (root / ".bundles" / "active").symlink_to("views/1")
    for top in {path.split("/")[0] for path in (*files, *links)}:
        (root / top).symlink_to(f".bundles/active/tree/{top}")


@dataclass
class Upstream:
    """An index behind: what was asked for, how often, and whether it is out of order."""

    pages: dict[str, dict[str, bytes]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    seen: list[dict[str, str]] = field(default_factory=list)
    #: How it is out of order: it says so, or hangs up.
    broken: Literal["", "500", "hangs up"] = ""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, *wheels: TinyWheel, folder: str = "../../packages") -> None:
        """Offer wheels of one project below ``folder``: relative to its page, or a whole URL."""
        project = normalised(wheels[0].name)
        self.pages[f"/simple/{project}/"] = page(project, {f"{folder}/{one.filename}": one for one in wheels})
        self.put(*wheels)

    def put(self, *wheels: TinyWheel) -> None:
        for one in wheels:
            self.files[f"/packages/{one.filename}"] = one.data
            self.files[f"/packages/{one.filename}.metadata"] = one.metadata


class _Handler(BaseHTTPRequestHandler):
    upstream: Upstream

    def do_GET(self) -> None:
        upstream = self.upstream
        upstream.asked[self.path] += 1
        upstream.seen.append({name.lower(): value for name, value in self.headers.items()})
        if upstream.broken == "hangs up":
            self.close_connection = True
            return
        kind, data = "application/octet-stream", upstream.files.get(self.path)
        if self.path in upstream.pages:
            as_json = self.headers["Accept"].startswith(JSON)
            kind, data = (
                (JSON if as_json else HTML),
                upstream.pages[self.path][f"index.{'json' if as_json else 'html'}"],
            )
        self.send_response(500 if upstream.broken else 404 if data is None else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Vary", "Accept, User-Agent")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Set-Cookie", "session=1")
        self.send_header("X-Accel-Redirect", "/simple/")
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running(upstream: Upstream) -> Iterator[Upstream]:
    handler = type("Bound", (_Handler,), {"upstream": upstream})
    with ThreadingHTTPServer(("127.0.0.1", upstream.port), handler) as server:
        upstream.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield upstream
        finally:
            server.shutdown()
            thread.join()

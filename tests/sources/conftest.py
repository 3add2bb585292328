"""A loopback HTTP server that can misbehave in every way that matters, and real git repositories."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import http.server
import io
import os
import re
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bundler.events import Event
from bundler.model.lock import Artifact
from bundler.sources.http import HttpClient
from bundler.sources.retry import Retry
from bundler.store.cas import Store

QUICK = Retry(attempts=3, base=0.01, cap=0.02, longest_wait=0.05)


@dataclass(kw_only=True)
class Page:
    """What the server has at a path, and how it behaves there; lists are used up request by request."""

    data: bytes = b""
    etag: str = '"one"'
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    login: str = ""
    redirect: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    length: bool = True


@dataclass(kw_only=True)
class Request:
    """What a client asked for, and how many bytes of body it was sent; noted before they go out."""

    method: str
    path: str
    headers: dict[str, str]
    sent: int = 0


class Loopback(http.server.ThreadingHTTPServer):
    """Pages by path, and the record of requests."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.requests: list[Request] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that went away."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, path: str, data: bytes, **behaviour: Any) -> Page:
        """Serve ``data`` at ``path``."""
        self.pages[path] = Page(data=data, **behaviour)
        return self.pages[path]

    def artifact(self, name: str, data: bytes, *, size: bool = True, **behaviour: Any) -> Artifact:
        """Serve ``data`` as a file of an index, and return how a lock names it."""
        self.add(f"/{name}", data, **behaviour)
        return Artifact(
            name=name,
            url=f"{self.url}/{name}",
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data) if size else None,
        )

    def asked(self, method: str = "GET") -> list[Request]:
        return [request for request in self.requests if request.method == method]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Loopback

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Be quiet."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self._say(404, {}, b"")
            return
        expected = "Basic " + base64.b64encode(page.login.encode()).decode()
        if page.login and self.headers.get("Authorization") != expected:
            self._say(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")
        elif page.redirect:
            self._say(302, {"Location": page.redirect}, b"")
        elif page.statuses and self.command == "GET":
            self._say(page.statuses.pop(0), dict(page.headers), b"busy")
        else:
            self._file(page)

    def _file(self, page: Page) -> None:
        headers = {"ETag": page.etag, **page.headers} if page.etag else dict(page.headers)
        span = self._span(page)
        if span is None:
            self._say(200, headers, page.data, page)
        elif span[0] >= len(page.data):
            self._say(416, {"Content-Range": f"bytes */{len(page.data)}"}, b"")
        else:
            headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{len(page.data)}"
            self._say(206, headers, page.data[span[0] : span[1]], page)

    def _span(self, page: Page) -> tuple[int, int] | None:
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range", page.etag)
        if match is None or not page.ranges or condition != page.etag:
            return None
        first, last = match.groups()
        if not first:
            return max(0, len(page.data) - int(last)), len(page.data)
        return int(first), min(len(page.data), int(last) + 1) if last else len(page.data)

    def _say(self, status: int, headers: dict[str, str], body: bytes, page: Page | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if page is None or page.length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        record = Request(method=self.command, path=self.path, headers=dict(self.headers.items()))
        self.server.requests.append(record)
        self.end_headers()
        if self.command == "GET":
            self._send(body, page or Page(), record)

    def _send(self, body: bytes, page: Page, record: Request) -> None:
        stop = min(page.cuts.pop(0), len(body)) if page.cuts else len(body)
        if stop < len(body):
            self.close_connection = True
        try:
            for start in range(0, stop, 1 << 16):
                piece = body[start : min(stop, start + (1 << 16))]
                record.sent += len(piece)
                self.wfile.write(piece)
                time.sleep(page.pause)
        except OSError:
            self.close_connection = True


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Talk to the loopback directly, and know no passwords but the test's."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


@pytest.fixture
def server() -> Iterator[Loopback]:
    """Serve until the test ends."""
    loopback = Loopback()
    thread = threading.Thread(target=loopback.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield loopback
    loopback.shutdown()
    loopback.server_close()
    thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty store."""
    return Store(tmp_path / "store")


@pytest.fixture
def client() -> Iterator[HttpClient]:
    """Return a client that loses no time between attempts."""
    with HttpClient(retry=QUICK) as made:
        yield made


@pytest.fixture
def events() -> list[Event]:
    """Return where a test collects events: ``events.append`` is an Emit."""
    return []


class Wheels:
    """Make small wheels."""

    @staticmethod
    def make(
        name: str = "demo",
        version: str = "1.0",
        *,
        padding: int = 0,
        files: int = 0,
        metadata: bytes = b"",
        info: str = "",
    ) -> bytes:
        """Return a wheel with ``padding`` incompressible bytes and ``files`` members before its dist-info."""
        buffer = io.BytesIO()
        text = metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nLong text.\n".encode()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{name}/data.bin", _noise(padding))
            for number in range(files):
                archive.writestr(f"{name}/a_rather_long_module_name_{number:05}.py", "x = 1\n")
            archive.writestr(f"{info or f'{name}-{version}'}.dist-info/METADATA", text)
            archive.writestr(f"{info or f'{name}-{version}'}.dist-info/RECORD", "")
        return buffer.getvalue()


@pytest.fixture
def wheels() -> Wheels:
    """Return the maker of wheels."""
    return Wheels()


def _noise(size: int) -> bytes:
    blocks = (hashlib.sha256(str(number).encode()).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size]


@pytest.fixture
def noise() -> Any:
    """Return the maker of incompressible bytes."""
    return _noise


class Repository:
    """A git repository with a work tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        return self.path.as_uri()

    def git(self, *arguments: str) -> str:
        """Run git there with a fixed identity."""
        env = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@host.example",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@host.example",
            "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
            "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
        }
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *arguments],
            cwd=self.path,
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str], message: str = "change") -> str:
        """Commit files and return the SHA."""
        for name, text in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return a repository with two commits, a tag on the first and a branch."""
    made = Repository(tmp_path / "upstream" / "demo")
    made.commit({"setup.py": "one\n", "sub/inner.txt": "inner\n"}, "first")
    made.git("tag", "-a", "1.0.0", "-m", "release")
    made.git("branch", "stable")
    made.commit({"setup.py": "two\n", "run.sh": "#!/bin/sh\n"}, "second")
    return made


class GitServer(http.server.ThreadingHTTPServer):
    """`git http-backend` behind HTTP, refusing the first ``failures`` requests."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _GitHandler)
        self.root = root
        self.failures = 0
        self.login = ""
        self.hits = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _GitHandler(http.server.BaseHTTPRequestHandler):
    server: GitServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Be quiet."""

    def do_GET(self) -> None:
        self._backend()

    def do_POST(self) -> None:
        self._backend()

    def _refused(self) -> bool:
        expected = "Basic " + base64.b64encode(self.server.login.encode()).decode()
        if self.server.failures:
            self.server.failures -= 1
            self.send_error(503)
            return True
        if self.server.login and self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.end_headers()
            return True
        return False

    def _backend(self) -> None:
        self.server.hits += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self._refused():
            return
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            "CONTENT_LENGTH": str(len(body)),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        lines = [line.partition(": ")[::2] for line in head.decode().split("\r\n")]
        status = int(dict(lines).get("Status", "200").split()[0])
        self.send_response(status)
        for name, value in lines:
            if name and name != "Status":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def git_server(repository: Repository) -> Iterator[GitServer]:
    """Serve the directory that holds the repository."""
    made = GitServer(repository.path.parent)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def http_date() -> str:
    """Return a fixed date as HTTP writes it."""
    return email.utils.formatdate(1_767_323_045, usegmt=True)

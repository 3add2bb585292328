"""Readers during hundreds of switches, through a real web server."""

from __future__ import annotations

import functools
import http.client
import http.server
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bundler.repohost.releases import activate, check, rollback
from tests.repohost.handmade import Host, Made

BASE = "os-releases/33/debian-12-x86_64"
SWITCHES, READERS = 500, 4
#: Files of one name and other content, some long, and files that only one of the two has.
A = Made(
    "os-33-1",
    {f"{BASE}/wheels/both-{n}.whl": b"A%d" % n * (n * 4000 + 1) for n in range(12)}
    | {f"{BASE}/wheels/a-{n}.whl": b"only A %d" % n for n in range(6)}
    | {"constraints/upper.txt": b"a===1\n", "simple/index.html": b"<a>" * 999},
)
B = Made(
    "os-33-2",
    {f"{BASE}/wheels/both-{n}.whl": b"B%d" % n * (n * 3000 + 2) for n in range(12)}
    | {f"{BASE}/wheels/b-{n}.whl": b"only B %d" % n for n in range(6)}
    | {"constraints/upper.txt": b"a===2\n", "simple/index.html": b"<b>" * 777},
)
NGINX = """\
daemon off;
worker_processes 2;
pid {here}/pid;
error_log stderr emerg;
events {{ worker_connections 64; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 100000;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        autoindex on;
    }}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def nginx(root: Path, here: Path) -> Iterator[int]:
    port = free_port()
    here.mkdir()
    here.chmod(0o755)
    config = here / "nginx.conf"
    config.write_text(
        ("user root;\n" if here.owner() == "root" else "") + NGINX.format(here=here, port=port, root=root)
    )
    server = subprocess.Popen(["nginx", "-c", config, "-p", here], stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        yield port
    finally:
        server.terminate()
        server.wait()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the standard library
        """Say nothing."""


@contextmanager
def python_server(root: Path, _here: Path) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _wait(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the web server does not answer")


@dataclass
class Reader:
    """Polls every path of both releases until it is told to stop."""

    port: int
    stop: threading.Event
    answers: int = 0
    wrong: list[str] = field(default_factory=list)
    seen: set[tuple[str, bytes]] = field(default_factory=set)

    def run(self) -> None:
        paths = sorted(A.files.keys() | B.files.keys())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            while not self.stop.is_set():
                for path in paths:
                    self._read(connection, path)
        except (OSError, http.client.HTTPException) as error:
            self.wrong.append(repr(error))
        finally:
            connection.close()

    def _read(self, connection: http.client.HTTPConnection, path: str) -> None:
        connection.request("GET", f"/{path}")
        response = connection.getresponse()
        body = response.read()
        self.answers += 1
        right = {release.files[path] for release in (A, B) if path in release.files}
        if response.status != 200 or body not in right:
            self.wrong.append(f"{path}: {response.status}, {len(body)} bytes")
        self.seen.add((path, body[:1]))


@pytest.mark.slow
@pytest.mark.parametrize("server", ["nginx", "python"])
def test_readers_get_the_old_or_the_new_answer(tmp_path: Path, server: str) -> None:
    """During 500 switches four readers get, for every path of either release, exactly its old or new bytes."""
    if server == "nginx" and shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    serve, switches = (nginx, SWITCHES) if server == "nginx" else (python_server, SWITCHES // 10)
    host = Host(tmp_path / "root")
    host.add(A)
    host.add(B)
    stop = threading.Event()

    with host.wire() as wire:
        activate(wire, A.id)
        activate(wire, B.id)
        with serve(host.root, tmp_path / "server") as port:
            readers = [Reader(port, stop) for _ in range(READERS)]
            threads = [threading.Thread(target=reader.run) for reader in readers]
            for thread in threads:
                thread.start()
            try:
                for number in range(switches):
                    rollback(wire, "os-33", (A, B)[number % 2].id)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
        assert check(wire) == ()

    assert [wrong for reader in readers for wrong in reader.wrong] == []
    assert min(reader.answers for reader in readers) > switches // 10
    seen = set().union(*(reader.seen for reader in readers))
    assert {(f"{BASE}/wheels/both-3.whl", letter) for letter in (b"A", b"B")} <= seen

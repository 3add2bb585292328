"""Ours and nginx as servers of a root, and pip and uv as clients of both."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bundler.events import Emit, ignore
from bundler.serving.listen import parse_listen
from bundler.serving.nginx import nginx_config
from bundler.serving.nginx_options import NginxOptions
from bundler.serving.root import Root
from bundler.serving.server import Server

BIN = Path(sys.executable).parent
HAS_NGINX = shutil.which("nginx") is not None
_FRAME = """\
{user}daemon off;
worker_processes 1;
pid {here}/pid;
error_log {here}/error.log notice;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    include {here}/bundle.conf;
}}
"""


@dataclass(frozen=True)
class Reply:
    status: int
    fields: Mapping[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        return self.fields.get("content-type", "").partition(";")[0]


@dataclass(frozen=True)
class Site:
    """A server that runs: ask it."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, method: str = "GET", **fields: str) -> Reply:
        """Ask for a path as it stands: nothing in it is tidied up."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(
                method, path, headers={name.replace("_", "-"): value for name, value in fields.items()}
            )
            reply = connection.getresponse()
            found = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, found, reply.read())
        finally:
            connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def frame(here: Path, config: str) -> Path:
    """Write a configuration, and around it what an nginx of its own needs."""
    here.mkdir(exist_ok=True)
    here.chmod(0o755)
    (here / "bundle.conf").write_text(config)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (here / "nginx.conf").write_text(_FRAME.format(user=user, here=here))
    return here / "nginx.conf"


@contextmanager
def nginx(here: Path, options: NginxOptions) -> Iterator[Site]:
    port = int(options.listen[0].rpartition(":")[2])
    path = frame(here, nginx_config(options))
    server = subprocess.Popen(["nginx", "-c", path, "-p", here], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        else:
            raise AssertionError((here / "error.log").read_text())
        yield Site(port)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


@contextmanager
def ours(root: Path, emit: Emit = ignore) -> Iterator[Site]:
    with Server(Root(root), parse_listen("127.0.0.1:0"), emit) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Site(server.server_address[1])
        finally:
            server.stop()
            thread.join()


def _env(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "XDG_"))}
    return {**kept, "HOME": str(home), "PIP_CONFIG_FILE": os.devnull, "no_proxy": "*"}


def pip(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Install into ``home/site`` with pip, whatever this machine has configured."""
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--target"]
    command += [
        str(home / "site"),
        "--python-version",
        "3.11",
        "--only-binary",
        ":all:",
        "--retries",
        "0",
        *arguments,
    ]
    return subprocess.run(command, env=_env(home), capture_output=True, text=True, check=False)


def uv(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Install into ``home/site`` with uv."""
    command = [str(BIN / "uv"), "pip", "install", "--no-config", "--no-cache", "--python", sys.executable, "--target"]
    return subprocess.run(
        [*command, str(home / "site"), *arguments], env=_env(home), capture_output=True, text=True, check=False
    )


def installed(home: Path) -> set[str]:
    return {path.name.removesuffix(".dist-info") for path in (home / "site").glob("*.dist-info")}

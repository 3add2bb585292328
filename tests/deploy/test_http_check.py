"""Fetching what was signed from a real web server."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.deploy.http_check import Served, check_http
from bundler.errors import UsageError


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def served(path: Path, data: bytes, name: str = "file 100%+?#.whl") -> Served:
    (path / name).write_bytes(data)
    return Served(path=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def test_what_was_signed_is_accepted(url: str, tmp_path: Path) -> None:
    """Names with characters that mean something in a URL arrive."""
    assert check_http(url, [served(tmp_path, b"content")]) == ()


def test_other_bytes_are_found(url: str, tmp_path: Path) -> None:
    """A server that hands out something else is seen, longer, shorter or of the same length."""
    wanted = served(tmp_path, b"content")
    for data in (b"CONTENT", b"content and more", b"con"):
        (tmp_path / wanted.path).write_bytes(data)

        found = check_http(url, [wanted])

        assert [(one.kind, one.path) for one in found] == [("changed", wanted.path)]


def test_a_missing_file_is_found(url: str, tmp_path: Path) -> None:
    """A 404 is a difference, and so is a server that does not answer."""
    missing = Served(path="gone", size=1, sha256="0" * 64)

    here, nobody = check_http(url, [missing]), check_http("http://127.0.0.1:9/", [missing])

    assert [(one.kind, one.detail) for one in here] == [("removed", "over HTTP: 404 File not found")]
    assert nobody[0].kind == "removed"


def test_only_http_is_spoken() -> None:
    """A file: URL would compare this host with itself."""
    with pytest.raises(UsageError):
        check_http("file:///srv", [])

"""Fetching an archive over HTTP: what came before a cut is not fetched again."""

from __future__ import annotations

import contextlib
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bundler.deploy.download import download, fetch_text
from bundler.errors import TransferFailed

DATA = os.urandom(300_000)


@dataclass
class Server:
    """A server of one file, ``/x``. ``cuts``: after so many bytes an answer ends, one after the other."""

    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    sent: int = 0

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range", "")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-") or 0) if self.ranges else 0
        if request.path != "/x" or start >= len(DATA):
            request.send_error(404 if request.path != "/x" else 416)
            return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(DATA) - start))
        request.end_headers()
        body = DATA[start:][: self.cuts.pop(0) if self.cuts else None]
        self.sent += len(body)
        request.wfile.write(body)
        request.close_connection = True


@contextlib.contextmanager
def running(server: Server) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}/x"
        finally:
            listening.shutdown()
            thread.join()


def test_a_cut_answer_is_gone_on_with(tmp_path: Path) -> None:
    """After each cut only the rest is asked for."""
    server = Server(cuts=[100_000, 50_000])
    with running(server) as url:
        download(url, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == DATA
    assert server.asked == ["", "bytes=100000-", "bytes=150000-"]
    assert server.sent == len(DATA)


def test_what_came_stays_for_the_next_run(tmp_path: Path) -> None:
    """Where it breaks again and again the run ends; the next one goes on, and the one after that fetches nothing."""
    server = Server(cuts=[100_000, 1000, 1000])
    with running(server) as url:
        with pytest.raises(TransferFailed, match="early"):
            download(url, tmp_path / "file")
        assert (tmp_path / "file").stat().st_size == 102_000
        download(url, tmp_path / "file")
        sent = server.sent
        download(url, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == DATA
    assert server.sent == sent == len(DATA)


def test_a_server_without_ranges_sends_it_all(tmp_path: Path) -> None:
    """What was there is not put before the whole."""
    server = Server(ranges=False, cuts=[100_000])
    with running(server) as url:
        download(url, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == DATA


def test_what_is_not_there_is_not_tried_again(tmp_path: Path) -> None:
    """The address is named, with what it should be; only HTTP is spoken."""
    server = Server()
    with running(server) as url:
        with pytest.raises(TransferFailed, match="404") as raised:
            download(f"{url}y", tmp_path / "file")
        with pytest.raises(TransferFailed, match="404"):
            fetch_text(f"{url}y", 10)
        assert fetch_text(url, 10) == DATA[:10]

    assert "venvs directory" in raised.value.hint
    assert len(server.asked) == 3
    with pytest.raises(TransferFailed, match="no http address"):
        download(f"file://{tmp_path}/file", tmp_path / "other")

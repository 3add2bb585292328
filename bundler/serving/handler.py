"""One connection of a client: requests are read, answered and logged."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Protocol

from bundler.serving.answers import Answer, Request, answer, refusal
from bundler.serving.root import Root

#: Seconds that a client may take to send a request or to take the next bytes of an answer.
PATIENCE = 30
_ALLOWED = {"Allow": "GET, HEAD"}
_SHOWN = 300


class Watch(Protocol):
    """What a connection needs of its server."""

    root: Root

    @contextmanager
    def working(self, connection: socket.socket) -> Iterator[None]:
        """Know that an answer is under way."""

    def log(self, line: str) -> None:
        """Take a line for the log of accesses."""

    @property
    def ending(self) -> bool:
        """Whether no further request is to be taken."""


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"
    server_version = "bundle-install"
    sys_version = ""
    timeout = PATIENCE
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s\n"
    watch: Watch

    def setup(self) -> None:
        """Turn Nagle's algorithm off: headers and body are written apart."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        """Answer with a file, or a part of it."""
        with self.watch.working(self.connection):
            self._send(answer(self.watch.root, self._request()))

    do_HEAD = do_GET  # noqa: N815 — the names are the library's

    def do_POST(self) -> None:
        """Refuse whatever changes something."""
        self.close_connection = True
        self._send(refusal(HTTPStatus.METHOD_NOT_ALLOWED, "this server is read only", _ALLOWED))

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST  # noqa: N815

    def _request(self) -> Request:
        if "content-length" in self.headers or "transfer-encoding" in self.headers:
            # A body that nobody reads must not be taken for the next request.
            self.close_connection = True
        fields = {name.lower(): ",".join(self.headers.get_all(name, ())) for name in self.headers}
        return Request(target=self.path, fields=fields)

    def _send(self, found: Answer) -> None:
        try:
            self.send_response(found.status)
            for name, value in found.fields.items():
                self.send_header(name, value)
            if found.status != HTTPStatus.NOT_MODIFIED:
                self.send_header("Content-Length", str(found.length))
            if self.close_connection or self.watch.ending:
                self.close_connection = True
                self.send_header("Connection", "close")
            self.end_headers()
            sent = 0 if self.command == "HEAD" or found.status == HTTPStatus.NOT_MODIFIED else self._body(found)
        finally:
            found.close()
        self.close_connection = self.close_connection or self.watch.ending
        self.watch.log(f'{self.client_address[0]} "{_printable(self.requestline)}" {found.status.value} {sent}')

    def _body(self, found: Answer) -> int:
        """Send the body; a file goes from the disk to the client without passing through here, unless by TLS."""
        if found.part is None or found.entry is None:
            return self.wfile.write(found.text)
        if not found.part.length:
            return 0
        with open(os.dup(found.entry.handle), "rb", buffering=0) as file:  # noqa: PTH123 — an open handle
            sent: int = self.connection.sendfile(file, found.part.start, found.part.length)
        if sent != found.part.length:
            self.close_connection = True
        return sent

    def log_message(self, *_: object) -> None:
        """Say nothing: what was answered is logged once, with its size."""


def _printable(text: str) -> str:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in shown)

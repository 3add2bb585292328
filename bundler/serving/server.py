"""A server for the root of a repo host: many clients at once, each with a time limit, and an orderly end."""

from __future__ import annotations

import contextlib
import errno
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bundler.clock import stopwatch
from bundler.errors import ListenFailed, Problem, UsageError
from bundler.events import Emit, Noted, Warned
from bundler.serving.handler import PATIENCE, Handler
from bundler.serving.listen import Address
from bundler.serving.root import Root

#: Connections at a time; further ones are told to come again.
_MOST = 256
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#: Seconds that answers under way get to come to their end.
GRACE = 10.0
#: What a client does to its own connection is no fault of ours.
_THEIRS = (ConnectionError, TimeoutError, ssl.SSLError)


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what a server with this certificate (chain) and key needs.

    Raises:
        UsageError: They cannot be read, do not fit, or the key asks for a passphrase.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    problems = [*_unreadable(certificate), *_unreadable(key)]
    if problems:
        raise UsageError("there is nothing to serve https with", problems=problems)
    try:
        # An empty passphrase never fits, and nobody is asked.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise UsageError(
            f"{certificate} and {key} are no certificate and key of it that can be used: {error}",
            hint="both as PEM, the certificate with its chain, the key without a passphrase",
        ) from error
    return context


class Server(ThreadingHTTPServer):
    """Serves ``root``; :meth:`stop` ends it. Each connection has a thread of its own."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, root: Root, address: Address, emit: Emit, tls: ssl.SSLContext | None = None) -> None:
        """Listen, without taking connections yet.

        Raises:
            ListenFailed: The address is in use, or not ours.
        """
        self.root = root
        self.ending = False
        self._emit = emit
        self._tls = tls
        #: Connections that are open: since when we wait for a request; None while it is answered.
        self._waiting: dict[socket.socket, float | None] = {}
        self._changed = threading.Condition()
        self.address_family = address.family
        try:
            super().__init__((address.ip, address.port), type("BoundHandler", (Handler,), {"watch": self}))
        except (OSError, OverflowError) as error:
            raise _refused(address, error) from error

    def server_bind(self) -> None:
        """Bind, and ask no name server who we are."""
        socketserver.TCPServer.server_bind(self)

    @property
    def url(self) -> str:
        """Return where clients find it."""
        ip, port = self.server_address[:2]
        host = f"[{ip!s}]" if self.address_family == socket.AF_INET6 else str(ip)
        return f"{'https' if self._tls else 'http'}://{host}:{port}/"

    def stop(self, grace: float = GRACE) -> bool:
        """Take no more requests, let answers come to their end; return whether all did within ``grace`` seconds."""
        self.ending = True
        self.shutdown()
        self.server_close()
        with self._changed:
            self._end_waiting(stopwatch())
            return self._changed.wait_for(lambda: not self._waiting, grace)

    @contextlib.contextmanager
    def working(self, connection: socket.socket) -> Iterator[None]:
        """Know that an answer on ``connection`` is under way."""
        with self._changed:
            self._waiting[connection] = None
        try:
            yield
        finally:
            with self._changed:
                self._waiting[connection] = stopwatch()

    def log(self, line: str) -> None:
        """Tell of a request that was answered."""
        self._emit(Noted(message=line))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a new connection, if it is not one too many."""
        with self._changed:
            full = len(self._waiting) >= _MOST
            if not full:
                self._waiting[request] = stopwatch()
        if full:
            request.setblocking(False)  # noqa: FBT003 — the library's parameter
            with contextlib.suppress(OSError):
                request.send(b"" if self._tls else _TOO_MANY)
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end."""
        connection = request
        try:
            if self._tls is not None:
                connection = self._wrapped(request, self._tls)
                connection.do_handshake()
            self.finish_request(connection, client_address)
        except Exception:  # noqa: BLE001 — one connection's end must not be the server's
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(connection)
            with self._changed:
                self._waiting.pop(request, None)
                self._waiting.pop(connection, None)
                self._changed.notify_all()

    def service_actions(self) -> None:
        """End connections on which a request takes too long to come; called twice a second."""
        with self._changed:
            self._end_waiting(stopwatch() - PATIENCE)

    def handle_error(self, _request: object, client_address: Any) -> None:
        """Tell of a fault of ours; those of clients are passed over."""
        error = sys.exc_info()[1]
        if not isinstance(error, _THEIRS):
            self._emit(Warned(message=f"a request from {client_address[0]} failed: {error!r}"))

    def _wrapped(self, request: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        request.settimeout(PATIENCE)
        connection = tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        with self._changed:
            self._waiting[connection] = self._waiting.pop(request, stopwatch())
        return connection

    def _end_waiting(self, before: float) -> None:
        for connection, since in self._waiting.items():
            if since is not None and since <= before:
                # Not an SSLSocket's own shutdown: its thread may be in the middle of reading.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _unreadable(path: Path) -> Iterator[Problem]:
    try:
        path.open("rb").close()
    except OSError as error:
        yield Problem(where=str(path), what=error.strerror or str(error), hint="who serves has to be able to read it")


def _refused(address: Address, error: OSError | OverflowError) -> ListenFailed:
    number = error.errno if isinstance(error, OSError) else None
    hints = {
        errno.EADDRINUSE: "another program listens there (ss -ltnp names it); choose another with --listen",
        errno.EACCES: "ports below 1024 need root, or CAP_NET_BIND_SERVICE",
        errno.EADDRNOTAVAIL: "no interface of this host has that address",
    }
    what = error.strerror if isinstance(error, OSError) else str(error)
    return ListenFailed(f"cannot listen on {address}: {what}", hint=hints.get(number or 0, "see --listen"))

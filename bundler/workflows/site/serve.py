"""Serve the root of a repo host until somebody says stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import UsageError
from bundler.events import Emit, Noted, Warned, ignore
from bundler.serving.listen import parse_listen
from bundler.serving.root import Root
from bundler.serving.server import GRACE, Server, tls_context


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """What to serve, where, and with which certificate, if any."""

    root: Path
    listen: str
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What is served now; ``loopback``: to programs of this host alone."""

    root: Path
    url: str
    loopback: bool


def serve(
    request: ServeRequest, started: Callable[[Serving], None], stop: threading.Event, emit: Emit = ignore
) -> None:
    """Listen, call ``started``, and answer until ``stop`` is set; answers under way come to their end.

    Raises:
        UsageError: The root, the address or the certificate is none.
        ListenFailed: The address cannot be had.
    """
    if (request.certificate is None) != (request.key is None):
        raise UsageError("--tls-cert and --tls-key go together", hint="give both, or neither")
    root, address = Root(request.root), parse_listen(request.listen)
    tls = tls_context(request.certificate, request.key) if request.certificate and request.key else None
    with Server(root, address, emit, tls) as server:
        if not (request.root / "os-releases").exists():
            emit(Warned(message=f"{request.root}: no release is active yet", hint="bundle-install apply brings one"))
        started(Serving(root=request.root, url=server.url, loopback=address.is_loopback))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        stop.wait()
        if not server.stop():
            emit(Warned(message=f"connections were cut that did not end within {GRACE:.0f} s"))
        thread.join()
    emit(Noted(message="stopped"))

"""Which driver goes to a host."""

from __future__ import annotations

import contextlib
import threading

from bundler.model.site import Ssh, TransportName
from bundler.transport.limiter import Limiter
from bundler.transport.port import Endpoint, Transport

#: All logins go through one jump host: with more than ten at a time its sshd hangs up on some (MaxStartups).
_ENTERING = threading.BoundedSemaphore(8)


def connect(endpoint: Endpoint, transport: TransportName, ssh: Ssh, limiter: Limiter | None = None) -> Transport:
    """Connect to a host.

    Raises:
        HostUnreachable: It does not answer, or does not let us in.
        HostKeyRefused: It shows a key that is not pinned.
    """
    limiter = limiter or Limiter(0)
    with _ENTERING if ssh.jump and transport != "local" else contextlib.nullcontext():
        return _connect(endpoint, transport, ssh, limiter)


def _connect(endpoint: Endpoint, transport: TransportName, ssh: Ssh, limiter: Limiter) -> Transport:
    if transport == "local":
        from bundler.transport.local import LocalTransport  # noqa: PLC0415

        return LocalTransport(endpoint, limiter)
    if transport == "openssh":
        from bundler.transport.openssh import OpensshTransport  # noqa: PLC0415

        return OpensshTransport(endpoint, ssh, limiter)
    from bundler.transport.ssh import SshTransport  # noqa: PLC0415 (paramiko takes a third of a second to import)

    return SshTransport(endpoint, ssh, limiter)

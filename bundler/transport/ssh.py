"""The paramiko driver: pinned host keys only, an identity or an agent, a jump host, settings that are fast.

Nothing of ~/.ssh or /etc/ssh is read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import paramiko
from paramiko.common import cMSG_GLOBAL_REQUEST

from bundler import clock
from bundler.errors import BundlerError, HostUnreachable, TransferFailed
from bundler.model.site import Ssh
from bundler.transport.jump import jump_endpoint
from bundler.transport.known_hosts import ShownKey, host_name, read_known_hosts
from bundler.transport.limiter import Limiter
from bundler.transport.port import PATIENCE, Channel, Endpoint
from bundler.transport.quoting import far_command
from bundler.transport.ssh_channel import SshChannel
from bundler.transport.ssh_login import candidates, log_in

#: AES-GCM is two to three times as fast as paramiko's first choice, and needs no MAC.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
_MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
#: What a host may send ahead of a slow reader is kept in memory: the window bounds it.
_WINDOW = 8 * 1024 * 1024
_PACKET = 256 * 1024
_ENDING = 0.2
#: How many keepalives may stay unanswered.
_UNANSWERED = 4

# paramiko logs what it also raises; without a handler Python would print it.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class _Packetizer(paramiko.packet.Packetizer):
    """Notes when it last heard from the host; changes keys as seldom as OpenSSH does (RFC 4344 §3.2)."""

    REKEY_BYTES = 2**35
    REKEY_PACKETS = 2**31

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.heard = clock.stopwatch()

    def read_message(self) -> tuple[int, paramiko.Message]:
        found = super().read_message()
        self.heard = clock.stopwatch()
        return found


class SshTransport:
    """A connection to ``endpoint``, made by the constructor."""

    def __init__(self, endpoint: Endpoint, ssh: Ssh, limiter: Limiter, *, patience: float = PATIENCE) -> None:
        self._endpoint = endpoint
        self._ssh = ssh
        self._limiter = limiter
        self._patience = patience
        self._closed = threading.Event()
        self._silent = ""
        self._jump: SshTransport | None = None
        if ssh.jump:
            self._jump = SshTransport(jump_endpoint(ssh, endpoint), dataclasses.replace(ssh, jump=""), limiter)
        self._session: paramiko.Transport | None = None
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    @property
    def label(self) -> str:
        """Return what messages call the host."""
        return self._endpoint.name

    def open(self, argv: Sequence[str]) -> Channel:
        """Run a command: each word quoted, so that the login shell there only takes the quotes off again."""
        session = self._alive()
        try:
            channel = session.open_session(timeout=self._ssh.connect_timeout)
            channel.exec_command(cast("str", far_command(argv).encode("utf-8", "surrogateescape")))
        except paramiko.ChannelException as error:
            raise HostUnreachable(
                f"{self.label}: opens no further session: {error}", hint="raise MaxSessions in its sshd_config"
            ) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise TransferFailed(f"{self.label}: the connection was cut: {self._why() or error}") from error
        return SshChannel(channel, label=self.label, patience=self._patience, limiter=self._limiter, why=self._why)

    def close(self) -> None:
        """End the connection and every command on it."""
        self._closed.set()
        if self._session is not None:
            self._session.packetizer.complete_handshake()  # ends a timer that would hold up the end of the process
            self._session.close()
        if self._jump is not None:
            self._jump.close()

    def through(self, address: str, port: int) -> paramiko.Channel:
        """Return a stream from this host, as a jump host, to another."""
        return self._alive().open_channel(
            "direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=self._ssh.connect_timeout
        )

    def _alive(self) -> paramiko.Transport:
        if self._session is None or not self._session.is_active():
            raise TransferFailed(f"{self.label}: the connection was cut: {self._why()}")
        return self._session

    def _connect(self) -> None:
        with _translated(self.label, f"{self._endpoint.address}:{self._endpoint.port}"):
            name = host_name(self._endpoint.address, self._endpoint.port)
            pins = read_known_hosts(Path(self._ssh.known_hosts).expanduser())
            session = self._start(self._dial(), pins.kinds(name))
            shown = session.get_remote_server_key()
            pins.judge(self.label, name, ShownKey(kind=shown.get_name(), blob=shown.asbytes()))
            self._log_in(session)
        self._watch(session)

    def _dial(self) -> socket.socket | paramiko.Channel:
        where = (self._endpoint.address, self._endpoint.port)
        if self._jump is not None:
            return self._jump.through(*where)
        stream = socket.create_connection(where, timeout=self._ssh.connect_timeout)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return stream

    def _start(self, stream: socket.socket | paramiko.Channel, pinned: Sequence[str]) -> paramiko.Transport:
        """Agree on keys and ciphers; the host's key is judged after, and before anything else is said."""
        session = self._session = paramiko.Transport(
            stream, default_window_size=_WINDOW, default_max_packet_size=_PACKET, packetizer_class=_Packetizer
        )
        session.banner_timeout = session.handshake_timeout = session.auth_timeout = self._ssh.connect_timeout
        options = session.get_security_options()
        options.ciphers = _CIPHERS
        options.digests = _MACS
        wanted = [
            kind for kind in options.key_types if kind in pinned or (kind[:4] == "rsa-" and "ssh-rsa" in pinned)
        ]
        options.key_types = (*wanted, *(kind for kind in options.key_types if kind not in wanted))
        session.start_client()
        return session

    def _log_in(self, session: paramiko.Transport) -> None:
        agent = paramiko.Agent() if self._ssh.agent else None
        try:
            held = () if agent is None else agent.get_keys()
            log_in(session, self._endpoint.user, candidates(self._endpoint.identity or self._ssh.identity, held))
        except HostUnreachable as error:
            raise HostUnreachable(f"{self.label}: {error.message}", hint=error.hint) from error
        finally:
            if agent is not None:
                agent.close()

    def _watch(self, session: paramiko.Transport) -> None:
        """Ask for a sign of life, and end the connection if none comes: TCP alone waits for many minutes."""
        if self._ssh.keepalive:
            packetizer = cast("_Packetizer", session.packetizer)
            packetizer.set_keepalive(self._ssh.keepalive, lambda: packetizer.send_message(_keepalive()))
            threading.Thread(target=self._guard, args=(session, packetizer), daemon=True).start()

    def _guard(self, session: paramiko.Transport, packetizer: _Packetizer) -> None:
        limit = self._ssh.keepalive * _UNANSWERED
        while session.is_active() and not self._closed.wait(min(1.0, limit / 4)):
            if clock.stopwatch() - packetizer.heard > limit:
                self._silent = f"no sign of life for {limit} s"
                session.close()

    def _why(self) -> str:
        """Return why the connection is gone; empty while it is there."""
        if self._session is None:
            return ""
        # paramiko closes the channels a moment before it says that the session has ended.
        self._session.join(_ENDING)
        if self._session.is_active():
            return ""
        return self._silent or str(self._session.saved_exception or "") or "closed by the host"


def _keepalive() -> paramiko.Message:
    """Return a request that every server answers, if only with a refusal (RFC 4254 §4)."""
    message = paramiko.Message()
    message.add_byte(cMSG_GLOBAL_REQUEST)
    message.add_string("keepalive@openssh.com")
    message.add_boolean(True)  # noqa: FBT003 (want reply)
    return message


@contextlib.contextmanager
def _translated(label: str, where: str) -> Iterator[None]:
    try:
        yield
    except BundlerError:
        raise
    except paramiko.ChannelException as error:
        raise HostUnreachable(f"{label}: the jump host does not reach {where}: {error.text}") from error
    except (TimeoutError, socket.gaierror, ConnectionError) as error:
        raise HostUnreachable(f"{label}: {where}: {error.strerror or 'no answer in time'}") from error
    except OSError as error:
        raise HostUnreachable(f"{label}: {where}: {error.strerror or error}") from error
    except (paramiko.SSHException, EOFError) as error:
        raise HostUnreachable(f"{label}: {where}: no ssh connection: {str(error) or 'it hung up'}") from error

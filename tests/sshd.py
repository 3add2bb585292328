"""A private sshd on 127.0.0.1, for every test that needs a real one.

``with Sshd(directory) as sshd`` starts a server with a host key, a login key and a known_hosts file of its own below
``directory``; nothing outside it is read or written, and only processes that it started are ended. Mark such tests
``sshd``.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ADDRESS = "127.0.0.1"
PROGRAM = "/usr/sbin/sshd"


@dataclass(frozen=True, kw_only=True)
class Login:
    """One more key that may log in: ``command`` is what it is forced to run; ``options`` as in authorized_keys."""

    name: str
    command: str = ""
    options: str = ""

    @property
    def prefix(self) -> str:
        command = self.command.replace('"', '\\"')
        forced = f'command="{command}"' if self.command else ""
        return ",".join(word for word in (self.options, forced) if word)


def make_key(path: Path, *, passphrase: str = "", kind: str = "ed25519") -> Path:
    """Make a key pair at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path)], check=True)
    return path


def public(path: Path) -> str:
    """Return type and key of the pair at ``path``, without its comment."""
    return " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])


class Sshd:
    """A running server. ``port`` is where to connect: the link's, where one is in between.

    ``forwarding`` lets it be a jump host; ``rate`` (bytes a second, both ways together) puts a slow :class:`Link` in
    front; ``options`` are more lines for sshd_config. Keys: ``identity`` (may do all), one for each of ``logins``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        logins: Sequence[Login] = (),
        forwarding: bool = False,
        rate: int = 0,
        linked: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.identity = directory / "id"
        self.host_key = directory / "host_key"
        self.known_hosts = directory / "known_hosts"
        self.authorized_keys = directory / "authorized_keys"
        self.link: Link | None = None
        self.port = 0
        self._logins = (Login(name="id"), *logins)
        self._forwarding = forwarding
        self._linked = linked or rate > 0
        self._rate = rate
        self._options = tuple(options)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Sshd:  # noqa: PYI034 (Self is of Python 3.11)
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in (self.host_key, *(self.key(login.name) for login in self._logins)):
            if not path.exists():
                make_key(path)
        lines = [f"{login.prefix} {public(self.key(login.name))}".strip() for login in self._logins]
        self.authorized_keys.write_text("".join(f"{line}\n" for line in lines))
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Return the process id of the listener."""
        assert self._process is not None
        return self._process.pid

    @property
    def host_key_line(self) -> str:
        """Return the line for known_hosts, without its newline."""
        return f"[{ADDRESS}]:{self.port} {public(self.host_key)}"

    @property
    def log(self) -> str:
        """Return what the server said so far."""
        return (self.directory / "log").read_text(errors="replace")

    def key(self, name: str) -> Path:
        """Return where the private key of the login ``name`` lies."""
        return self.directory / name

    def start(self) -> None:
        """Start listening: on the port it had before, where it was stopped."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        wanted = self.port if self.link is None else 0
        for _ in range(20):
            port = wanted or free_port()
            if self._listens(port):
                break
        else:
            raise RuntimeError(f"sshd does not start: {self.log}")
        if self._linked and self.link is None:
            self.link = Link(port, rate=self._rate)
            self.port = self.link.port
        elif self.link is not None:
            self.link.target = port
        else:
            self.port = port
        self.known_hosts.write_text(f"{self.host_key_line}\n")

    def stop(self) -> None:
        """End the listener, its sessions, what they run, and the link."""
        if self._process is None:
            return
        ours = (*descendants(self._process.pid), self._process.pid)
        for pid in ours:
            _signal(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        if self.link is not None:
            self.link.cut()

    def cut(self) -> None:
        """Kill every session, but not the listener: as when a host loses its network or its power for a moment."""
        for pid in reversed(descendants(self.pid)):  # sshd first: it has no time to say that the command ended
            _signal(pid, signal.SIGKILL)

    def hang(self) -> None:
        """Stop every session in its tracks: the connection stays, and nobody answers."""
        for pid in descendants(self.pid):
            _signal(pid, signal.SIGSTOP)

    def _listens(self, port: int) -> bool:
        config = self.directory / "sshd_config"
        config.write_text(self._config(port))
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((ADDRESS, port), timeout=5) as probe:
                if probe.recv(4) == b"SSH-":
                    return True
            time.sleep(0.01)
        return False

    def _config(self, port: int) -> str:
        lines = (
            *self._options,
            f"Port {port}",
            f"ListenAddress {ADDRESS}",
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.authorized_keys}",
            f"PidFile {self.directory / 'pid'}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "MaxStartups 100",
            "MaxSessions 100",
            "MaxAuthTries 20",
            "UseDNS no",
            "PrintMotd no",
            "PrintLastLog no",
            f"AllowTcpForwarding {'yes' if self._forwarding else 'no'}",
        )
        return "".join(f"{line}\n" for line in lines)


class Link:
    """A forwarder in front of ``target`` that can be slow, stand still, or be cut."""

    def __init__(self, target: int, *, rate: int = 0) -> None:
        self.target = target
        self.rate = rate
        self._open = threading.Event()
        self._open.set()
        self._ended = False
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((ADDRESS, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Pass nothing on any more; both ends keep their connection."""
        self._open.clear()

    def thaw(self) -> None:
        """Pass bytes on again."""
        self._open.set()

    def drop(self) -> None:
        """Cut every connection; new ones may come."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets.clear()

    def cut(self) -> None:
        """End it for good."""
        self._ended = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()
        self.thaw()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._ended:
                near, _ = self._listener.accept()
                far = socket.create_connection((ADDRESS, self.target))
                self._sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        size = max(1, self.rate // 20) if self.rate else 65536
        with contextlib.suppress(OSError):
            while data := source.recv(size):
                self._open.wait()
                if self.rate:
                    time.sleep(len(data) / self.rate)
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    """Return a port on which nobody listens at this moment."""
    with socket.create_server((ADDRESS, 0)) as probe:
        return int(probe.getsockname()[1])


def descendants(pid: int) -> tuple[int, ...]:
    """Return the processes that ``pid`` started, and what they started, deepest first."""
    return tuple(_descend(pid))


def _descend(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _descend(int(child))
        yield int(child)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)

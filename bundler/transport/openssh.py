"""The driver over the stock ssh client, for sites with host CAs (``@cert-authority``) or user certificates.

One client, the master, holds the connection; each command is a second client that goes through it. Nothing of
~/.ssh/config, /etc/ssh or the user's known_hosts is read.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bundler import clock, process
from bundler.errors import BundlerError, HostKeyRefused, HostUnreachable, SiteError, TransferFailed
from bundler.model.site import Ssh
from bundler.transport.jump import jump_endpoint
from bundler.transport.known_hosts import host_name, read_known_hosts
from bundler.transport.limiter import Limiter
from bundler.transport.pipes import Background, PipeChannel
from bundler.transport.port import PATIENCE, Channel, Endpoint
from bundler.transport.quoting import far_command

#: What ssh ends with when it fails itself; the far end's command may end with it as well.
_FAILED = 255
_UNANSWERED = 4
#: How long the master may take to notice what its clients noticed.
_NOTICING = 0.5
_SHOWN = re.compile(r"Server host (?:key|certificate): (\S+ SHA256:\S+)")
_OFFERED = re.compile(r"Offering public key: (.*\S)")
_KEY_REFUSED = re.compile(
    r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|host key is known for|marked as revoked",
    re.IGNORECASE,
)


class OpensshTransport:
    """A connection to ``endpoint``, made by the constructor."""

    def __init__(self, endpoint: Endpoint, ssh: Ssh, limiter: Limiter, *, patience: float = PATIENCE) -> None:
        self._endpoint = endpoint
        self._ssh = ssh
        self._limiter = limiter
        self._patience = patience
        self._channels: list[PipeChannel] = []
        self._program = process.which("ssh")
        # Short: the path of a socket may have 108 bytes.
        self._directory = Path(tempfile.mkdtemp(prefix="ssh-"))
        self._socket = self._directory / "m"
        self._master: Background | None = None
        try:
            self._pins = read_known_hosts(Path(ssh.known_hosts).expanduser())
            self._connect()
        except BaseException:
            self.close()
            raise

    @property
    def label(self) -> str:
        """Return what messages call the host."""
        return self._endpoint.name

    def open(self, argv: Sequence[str]) -> Channel:
        """Run a command through the master."""
        if self._master is None or self._master.ended(0):
            raise TransferFailed(f"{self.label}: the connection was cut: {self._last}")
        client = [
            *(self._program, "-F", "none", "-S", str(self._socket), "-T", "-o", "BatchMode=yes"),
            # Should the master be gone: no connection of its own, with other options.
            *("-o", "ProxyCommand=false", "-l", self._endpoint.user, "--", self._endpoint.address, far_command(argv)),
        ]
        channel = PipeChannel(
            client, label=self.label, patience=self._patience, limiter=self._limiter, lost=self._lost
        )
        self._channels.append(channel)
        return channel

    def close(self) -> None:
        """End the connection and every command on it."""
        if self._master is not None:
            self._master.stop()
        for channel in self._channels:
            channel.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _connect(self) -> None:
        argv = [self._program, "-M", "-N", "-S", str(self._socket), *self._options(), *_whither(self._endpoint)]
        self._master = Background(argv)
        # The control socket is there once the host's key is accepted and we are let in.
        end = clock.stopwatch() + 2 * self._ssh.connect_timeout
        while not self._socket.exists():
            if self._master.ended(0.01):
                raise self._refusal()
            if clock.stopwatch() > end:
                raise HostUnreachable(f"{self.label}: no ssh connection within {2 * self._ssh.connect_timeout} s")

    def _lost(self, status: int) -> bool:
        """Say whether ssh ended with 255 because the connection is gone."""
        return status == _FAILED and self._master is not None and self._master.ended(_NOTICING)

    @property
    def _said(self) -> str:
        return "" if self._master is None else self._master.said

    @property
    def _last(self) -> str:
        """Return what ssh said, without its debugging and its advice on a file that is not the site's."""
        dull = ("debug", "  remove with:")
        lines = [line.strip() for line in self._said.splitlines() if not line.startswith(dull)]
        return "; ".join(line for line in lines if line.strip("@ ") and str(self._directory) not in line)[-1000:]

    def _refusal(self) -> BundlerError:
        """Tell from what ssh said why there is no connection."""
        shown = _SHOWN.search(self._said)
        if _KEY_REFUSED.search(self._last):
            seen = f"; it shows {shown[1]}" if shown else ""
            pinned = self._pins.pinned(host_name(self._endpoint.address, self._endpoint.port))
            has = f"; {self._ssh.known_hosts} has {pinned}" if pinned and not self._ssh.jump else ""
            return HostKeyRefused(
                f"{self.label}: its host key is not accepted{seen}{has}: {self._last}",
                hint=f"compare the fingerprint with the one on paper, then correct {self._ssh.known_hosts}",
            )
        if "Permission denied" in self._last:
            tried = ", ".join(_OFFERED.findall(self._said)) or "no key"
            return HostUnreachable(
                f"{self.label}: does not let {self._endpoint.user} in; tried {tried}: {self._last}",
                hint="check ssh.identity in site.yaml; a key with a passphrase must be in an agent (ssh-add)",
            )
        where = f"{self._endpoint.address}:{self._endpoint.port}"
        return HostUnreachable(f"{self.label}: {where}: {self._last or 'no ssh connection'}")

    def _options(self) -> list[str]:
        options = _options(self._ssh, self._endpoint.identity or self._ssh.identity, self._known("k", self._endpoint))
        if self._ssh.jump:
            # -J would start a client that has none of our options.
            jump = jump_endpoint(self._ssh, self._endpoint)
            direct = _options(self._ssh, jump.identity, self._known("j", jump))
            way = shlex.join([self._program, *direct, "-W", "[HOST]:PORT", *_whither(jump)])
            way = way.replace("%", "%%").replace("[HOST]:PORT", "[%h]:%p")
            options += ["-o", f"ProxyCommand={way}"]
        return options

    def _known(self, file: str, endpoint: Endpoint) -> Path:
        """Write down the pins of one host at its port: of the whole file ssh would take one without a port too."""
        path = self._directory / file
        path.write_text(self._pins.lines(host_name(endpoint.address, endpoint.port)), "utf-8")
        return path


def _options(ssh: Ssh, identity: str, known_hosts: Path) -> list[str]:
    alive = f"ServerAliveInterval={ssh.keepalive}"
    fixed = (
        "BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={_value(str(known_hosts))}",
        "GlobalKnownHostsFile=none", "UpdateHostKeys=no", "CheckHostIP=no", "VerifyHostKeyDNS=no",
        "ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "PreferredAuthentications=publickey",
        f"ConnectTimeout={ssh.connect_timeout}", alive, f"ServerAliveCountMax={_UNANSWERED}",
        "Compression=no", "Ciphers=^aes128-gcm@openssh.com,aes256-gcm@openssh.com", "LogLevel=DEBUG1",
    )  # fmt: skip
    if identity:
        login: tuple[str, ...] = ("IdentitiesOnly=yes", f"IdentityFile={_value(identity)}")
    else:
        login = ("IdentitiesOnly=no", "IdentityFile=none")
    if not ssh.agent:
        login += ("IdentityAgent=none",)
    return ["-F", "none", *(word for option in (*fixed, *login) for word in ("-o", option))]


def _whither(endpoint: Endpoint) -> tuple[str, ...]:
    return ("-p", str(endpoint.port), "-l", endpoint.user, "--", endpoint.address)


def _value(path: str) -> str:
    """Write a path such that ssh reads it as it is: it expands ``%`` and splits at white space."""
    if '"' in path:
        raise SiteError(f"{path}: ssh cannot be given a path with a quote in it")
    return '"' + path.replace("%", "%%") + '"'

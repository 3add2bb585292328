"""Where a server listens, as people write it: ``8181``, ``127.0.0.1:8181``, ``[::1]:8181``, ``repo.example:80``."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from bundler.errors import UsageError

_ADDRESS = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:\[\]/]*):)?(?P<port>[0-9]{1,5})", re.ASCII)
_MAX_PORT = 65535
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Address:
    """An address that can be bound: one IP address and a port; port 0 is any that is free."""

    family: socket.AddressFamily
    ip: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Return whether only this host can reach it."""
        return ipaddress.ip_address(self.ip.partition("%")[0]).is_loopback

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if self.family == socket.AF_INET6 else f"{self.ip}:{self.port}"


def parse_listen(text: str) -> Address:
    """Return the address that ``text`` names; without a host it is this host alone.

    Raises:
        UsageError: It names none.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > _MAX_PORT:
        raise UsageError(f"--listen {text}: no address with a port", hint="e.g. 127.0.0.1:8181, [::1]:8181, 8181")
    host = (match["host"] or _LOOPBACK).strip("[]")
    try:
        found = socket.getaddrinfo(host, int(match["port"]), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"--listen {text}: {host} is no address of a host: {error.strerror}") from error
    family, _, _, _, (ip, port, *_) = found[0]
    return Address(family=family, ip=str(ip), port=int(port))

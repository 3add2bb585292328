"""The pinned host keys of a site: a file in OpenSSH's known_hosts format (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

Read here and not by paramiko, whose reader gives up on ``@cert-authority`` and does not know ``@revoked``. Nothing
is ever learned. A key that is pinned for the host without its port does not count for another port.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import HostKeyRefused

STANDARD_PORT = 22
_FIELDS = 3
_MARKERS = ("", "@revoked", "@cert-authority")


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One line: whom it is for, and the key. ``marker`` is ``@revoked``, ``@cert-authority`` or empty."""

    marker: str
    names: tuple[str, ...]
    kind: str
    blob: bytes
    number: int

    def is_for(self, name: str) -> bool:
        """Say whether the line speaks of ``name``, as :func:`host_name` writes it."""
        refused = any(_matches(pattern[1:], name) for pattern in self.names if pattern.startswith("!"))
        return not refused and any(_matches(pattern, name) for pattern in self.names if not pattern.startswith("!"))

    def counts_for(self, name: str) -> bool:
        """Say whether the line counts for the host and port of ``name``: a revocation holds on every port."""
        return self.is_for(name) or (self.marker == "@revoked" and self.is_for(_without_port(name)))


@dataclass(frozen=True, kw_only=True)
class ShownKey:
    """What a host showed."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """Return its fingerprint as ssh-keygen prints it."""
        return fingerprint(self.blob)


class KnownHosts:
    """All pins of the file at ``path``; a missing file pins nothing."""

    def __init__(self, path: Path, pins: Sequence[Pin]) -> None:
        self._path = path
        self._pins = tuple(pins)

    def kinds(self, name: str) -> tuple[str, ...]:
        """Return the types of the keys pinned for ``name``: these are asked for first."""
        return tuple(dict.fromkeys(pin.kind for pin in self._pins if not pin.marker and pin.is_for(name)))

    def lines(self, name: str) -> str:
        """Return the pins of ``name`` as a file for the stock client, which would also take one without the port."""
        found = (pin for pin in self._pins if pin.marker in _MARKERS and pin.counts_for(name))
        return "".join(
            f"{pin.marker} {name} {pin.kind} {base64.b64encode(pin.blob).decode()}\n".lstrip() for pin in found
        )

    def pinned(self, name: str) -> str:
        """Return the fingerprints pinned for ``name``, each with the line it stands in."""
        found = (pin for pin in self._pins if not pin.marker and pin.counts_for(name))
        return ", ".join(f"{fingerprint(pin.blob)} (line {pin.number})" for pin in found)

    def judge(self, label: str, name: str, shown: ShownKey) -> None:
        """Accept the key that a host showed.

        Raises:
            HostKeyRefused: It is revoked, not the pinned one, or none is pinned.
        """
        pins = [pin for pin in self._pins if pin.counts_for(name)]
        for pin in pins:
            if pin.marker == "@revoked" and pin.blob == shown.blob:
                raise HostKeyRefused(
                    f"{label}: shows the host key {shown.fingerprint}, revoked in {self._path}, line {pin.number}",
                    hint="do not go on: whoever answers holds a key that is known to be in wrong hands",
                )
        pinned = [pin for pin in pins if not pin.marker]
        if any(hmac.compare_digest(pin.blob, shown.blob) for pin in pinned):
            return
        if pinned:
            raise self._changed(label, name, shown)
        raise self._unknown(label, name, shown, authority=any(pin.marker == "@cert-authority" for pin in pins))

    def _changed(self, label: str, name: str, shown: ShownKey) -> HostKeyRefused:
        return HostKeyRefused(
            f"{label}: shows another host key than the pinned one: {shown.kind} {shown.fingerprint}; "
            f"{self._path} has {self.pinned(name)}",
            hint="someone may stand in between; only if you know that the host was set up anew, compare the "
            "fingerprint at its console and replace the line",
        )

    def _unknown(self, label: str, name: str, shown: ShownKey, *, authority: bool) -> HostKeyRefused:
        line = f"{name} {shown.kind} {base64.b64encode(shown.blob).decode()}"
        if authority:
            hint = "it is pinned by a host CA (@cert-authority): use transport: openssh for this host"
        else:
            hint = (
                f"compare the fingerprint with the one on paper (at the host: ssh-keygen -lf "
                f"/etc/ssh/ssh_host_…_key.pub); if it is the same, add to {self._path}: {line}"
            )
        return HostKeyRefused(
            f"{label}: no host key is pinned for {name}; it shows {shown.kind} {shown.fingerprint}", hint=hint
        )


def host_name(address: str, port: int) -> str:
    """Return what known_hosts calls a host at a port."""
    return address if port == STANDARD_PORT else f"[{address}]:{port}"


def _without_port(name: str) -> str:
    return name[1:].rpartition("]:")[0] if name.startswith("[") else name


def fingerprint(blob: bytes) -> str:
    """Return the fingerprint of a public key."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def read_known_hosts(path: Path) -> KnownHosts:
    """Read the pins of a site. Lines that are no pins are left out, as OpenSSH does, but for ``@revoked`` ones.

    Raises:
        HostKeyRefused: The file cannot be read, or a ``@revoked`` line cannot be understood.
    """
    try:
        lines = path.read_text("utf-8", "replace").split("\n")
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise HostKeyRefused(f"{path}: cannot be read: {error.strerror}") from error
    pins = [_parse(path, number, line) for number, line in enumerate(lines, 1)]
    return KnownHosts(path, [pin for pin in pins if pin is not None])


def _parse(path: Path, number: int, line: str) -> Pin | None:
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    marker = words.pop(0) if words[0].startswith("@") else ""
    try:
        names, kind, key = words[:_FIELDS]
        blob = base64.b64decode(key, validate=True)
    except (ValueError, binascii.Error) as error:
        if marker == "@revoked":
            raise HostKeyRefused(f"{path}, line {number}: a @revoked line that cannot be understood") from error
        return None
    return Pin(marker=marker, names=tuple(names.split(",")), kind=kind, blob=blob, number=number)


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        return _matches_hashed(pattern, name)
    # Only * and ? are special to OpenSSH; brackets belong to "[host]:port".
    return fnmatch.fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))


def _matches_hashed(pattern: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(word, validate=True) for word in pattern[3:].split("|"))
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.new(salt, name.lower().encode(), hashlib.sha1).digest(), digest)

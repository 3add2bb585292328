"""Names and passwords for hosts: from the environment, netrc and keyring; never asked for, never shown.

An index called ``my-index`` takes ``UV_INDEX_MY_INDEX_USERNAME`` and ``_PASSWORD``, as uv does. They go to the
origin (scheme, host, port) of that index only. netrc's ``default`` entry is not used: it would send a password to
every host.
"""

from __future__ import annotations

import contextlib
import netrc
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from bundler.events import Emit, Warned, ignore
from bundler.model.index import IndexConfig

HIDDEN = "***"
_USERINFO = re.compile(r"(?<!/)//[^/?#\s\"'<>]*@")
_PORTS = {"http": 80, "https": 443}


class Login(NamedTuple):
    """A name and a password."""

    username: str
    password: str


class Origin(NamedTuple):
    """What a password belongs to (RFC 6454)."""

    scheme: str
    host: str
    port: int


def origin(url: str) -> Origin:
    """Return the origin of ``url``; an unusable URL has an empty host."""
    try:
        parts = urlsplit(url)
        return Origin(parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0))
    except ValueError:
        return Origin("", "", 0)


def redact_text(text: str) -> str:
    """Return ``text`` with the user part of every URL in it replaced by ``***``."""
    return _USERINFO.sub(f"//{HIDDEN}@", text)


def redact_url(url: str) -> str:
    """Return ``url`` fit to be shown: no user, no password, no query values."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{url.partition(':')[0]}:{HIDDEN}"
    query = HIDDEN if parts.query else ""
    return redact_text(urlunsplit(parts._replace(query=query)))


def split_login(url: str) -> tuple[str, Login | None]:
    """Return ``url`` without its user part, and that part."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    name, _, password = user.partition(":")
    return urlunsplit(parts._replace(netloc=host)), Login(unquote(name), unquote(password))


def variables(index: str) -> tuple[str, str]:
    """Return the environment variables that hold the name and the password of an index."""
    stem = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", index.upper())
    return f"{stem}_USERNAME", f"{stem}_PASSWORD"


class Credentials:
    """Look up what a host wants. ``environ`` is the process's own unless given; ``config.env`` comes before it."""

    def __init__(
        self, config: IndexConfig | None = None, *, environ: Mapping[str, str] | None = None, emit: Emit = ignore
    ) -> None:
        self._config = config or IndexConfig()
        self._environ = {**(os.environ if environ is None else environ), **self._config.env}
        self._by_origin = self._from_environment()
        self._netrc = _read_netrc(self._environ, emit)
        self._keyring: dict[Origin, Login | None] = {}

    def __repr__(self) -> str:
        return "Credentials()"

    def known(self, url: str) -> Login | None:
        """Return what environment or netrc hold for the host of ``url``."""
        place = origin(url)
        if not place.host:
            return None
        return self._by_origin.get(place) or self._from_netrc(place.host)

    def find(self, url: str) -> Login | None:
        """Return what is known for ``url``, asking the keyring too (it can be slow, so after a refusal only)."""
        return self.known(url) or self.from_keyring(url)

    def from_keyring(self, url: str) -> Login | None:
        """Return what the keyring holds for the host of ``url``; no usable keyring is the same as nothing in it."""
        place = origin(url)
        if place not in self._keyring:
            self._keyring[place] = _ask_keyring(url, place.host) if place.host else None
        return self._keyring[place]

    def secrets(self) -> tuple[str, ...]:
        """Return every password known so far, to be redacted from the output of commands."""
        logins: Iterable[Login | None] = (*self._by_origin.values(), *self._keyring.values())
        held = {login.password for login in logins if login} | {password for _, password in self._netrc.values()}
        return tuple(sorted(password for password in held if password))

    def _from_environment(self) -> dict[Origin, Login]:
        found = {}
        for index in self._config.indexes:
            name, password = (self._environ.get(variable, "") for variable in variables(index.name))
            if index.url and (name or password):
                found[origin(index.url)] = Login(name, password)
        return found

    def _from_netrc(self, host: str) -> Login | None:
        return self._netrc.get(host)


def _read_netrc(environ: Mapping[str, str], emit: Emit) -> dict[str, Login]:
    explicit = environ.get("NETRC")
    path = Path(explicit) if explicit else Path(environ.get("HOME") or Path.home()) / ".netrc"
    if not path.is_file():
        return {}
    try:
        hosts = netrc.netrc(path).hosts
    except netrc.NetrcParseError as error:
        emit(Warned(message=f"{path}, line {error.lineno}: not understood; no password is taken from it"))
        return {}
    except (OSError, ValueError):
        emit(Warned(message=f"{path} cannot be read; no password is taken from it", hint=f"chmod 600 {path}"))
        return {}
    return {host: Login(entry[0], entry[2] or "") for host, entry in hosts.items() if host != "default"}


def _ask_keyring(url: str, host: str) -> Login | None:
    try:
        import keyring  # noqa: PLC0415  # slow to import, and wanted after a refusal only
    except ImportError:
        return None
    # A backend may raise anything of its own when it is locked or broken.
    with contextlib.suppress(Exception):
        if not _silent(keyring.get_keyring()):
            return None
        for service in (url, host):
            found = keyring.get_credential(service, None)
            if found is not None and found.password:
                return Login(found.username or "", found.password)
    return None


def _silent(backend: object) -> bool:
    """Return whether a keyring backend holds something and never asks for a password on the terminal."""
    parts: Iterable[object] = getattr(backend, "backends", (backend,))
    asking = any(type(part).__name__ == "EncryptedKeyring" for part in parts)
    return not asking and getattr(backend, "priority", 0) > 0

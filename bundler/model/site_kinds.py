"""What a value in ``site.yaml`` may be: each kind reads text strictly and describes itself for people and editors."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import urlsplit

from bundler.model.nearest import nearest
from bundler.model.site import TransportName
from bundler.model.target_names import ARCHES, DISTROS, TARGET_NAME

MAX_PATH = 1024
MAX_PORT = 65535
#: No size, count or time reaches this.
MAX_NUMBER = 1 << 50
SITE_NAME = r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?"
HOST_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?"
USER = r"[A-Za-z_][A-Za-z0-9_.@-]{0,63}"
OWNER = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}"
BUNDLE_ID = r"[a-z0-9][a-z0-9_-]{0,63}-[A-Za-z0-9][A-Za-z0-9.+_]{0,63}-[0-9]{1,16}"
SIZE = r"[0-9]+ ?[KMGT]?(B|iB)?"
_SIZE = re.compile(r"([0-9]{1,15}) ?([KMGT]?)(B|iB|)")
_JUMP = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[^\[\]\s]+\]|[^@:\[\]\s]+)(?::(?P<port>[0-9]+))?")
_DISTRO_NAMES = frozenset(name.rpartition("-")[0] for name in DISTROS)
_ABSOLUTE = {"type": "string", "pattern": "^/"}


class Wrong(ValueError):
    """A value is not of its kind: what is wrong, and what to do."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How people call it, its JSON Schema, and how its text is read; ``read`` raises :class:`Wrong`."""

    label: str
    schema: dict[str, Any]
    read: Callable[[str], Any]


def _text(pattern: str, hint: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def read(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise Wrong(f"{shown(text)} is not allowed here", hint)
        return text

    return read


def shown(text: str) -> str:
    """Return ``text`` quoted, its control characters escaped, not too long."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")  # noqa: PLR2004 — a message's width


def _one_line(text: str) -> str:
    bad = next((char for char in text if not char.isprintable()), None)
    if bad is not None:
        raise Wrong(f"holds the control character {bad!r}", "write it on one line, without tabs and line breaks")
    return text


def _path(text: str) -> str:
    _one_line(text)
    if not text.startswith("/"):
        raise Wrong(f"{shown(text)} is relative", "write the whole path, from / on")
    if posixpath.normpath(text) != text or text.startswith("//"):
        raise Wrong(
            f"{shown(text)} is not in its shortest form", f"write {posixpath.normpath('/' + text.lstrip('/'))}"
        )
    if len(text.encode("utf-8", "surrogatepass")) > MAX_PATH:
        raise Wrong(f"is longer than {MAX_PATH} bytes")
    return text


def _root(text: str) -> str:
    if _path(text) == "/":
        raise Wrong("must not be / itself", "give releases a directory of their own, e.g. /var/www/repo")
    return text


def _address(text: str) -> str:
    if "@" in text:
        raise Wrong(f"{shown(text)} holds a user", "user: is a field of its own")
    try:
        ipaddress.ip_address(text)
    except ValueError:
        if re.fullmatch(r"[^:]+:[0-9]+|\[.*\](:[0-9]+)?", text):
            raise Wrong(f"{shown(text)} holds a port or brackets", "port: is a field of its own") from None
        return _text(HOST_NAME.replace("{0,62}", "{0,251}"), "write a host name or an IP address")(text)
    return text


def _port(text: str) -> int:
    return _number(1, MAX_PORT)(text)


def _number(least: int, most: int = MAX_NUMBER) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit():
            raise Wrong(f"{shown(text)} is no whole number", f"from {least} on")
        if len(text) > len(str(MAX_NUMBER)) or not least <= int(text) <= most:
            raise Wrong(
                f"{shown(text)} is out of range",
                f"from {least} to {most}" if most < MAX_NUMBER else f"from {least} on",
            )
        return int(text)

    return read


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise Wrong(f"{shown(text)} is neither true nor false", "write true or false")
    return text == "true"


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise Wrong(f"{shown(text)} is no size", "write bytes, or e.g. 50M, 1GiB (of 1024) or 50MB (of 1000)")
    base = 1000 if match[3] == "B" else 1024
    return int(match[1]) * int(base ** " KMGT".index(match[2] or " "))


def _target(text: str) -> str:
    """Refuse what cannot be a target, or looks like a typo of one; a distribution that we do not know is let pass."""
    match = TARGET_NAME.fullmatch(text)
    if match is None:
        raise Wrong(f"{shown(text)} is no target name", "write <distro>-<version>-<arch>, e.g. debian-12-x86_64")
    if match["arch"] not in ARCHES:
        raise Wrong(f"unknown architecture {match['arch']}", nearest(match["arch"], ARCHES))
    name, distro = f"{match['distro']}-{match['version']}", match["distro"]
    known = name in DISTROS or (distro not in _DISTRO_NAMES and not nearest(distro, _DISTRO_NAMES, listed=False))
    if not known:
        raise Wrong(f"unknown target {text}", nearest(name, DISTROS))
    return text


def _url(text: str) -> str:
    _one_line(text)
    try:
        parts = urlsplit(text)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError as error:
        raise Wrong(f"{shown(text)} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_right or " " in text:
        raise Wrong(f"{shown(text)} is no URL that clients can read", "write http://host/ or https://host/")
    if "@" in parts.netloc:
        raise Wrong("holds a user or a password", "credentials never stand in site.yaml")
    if parts.query or parts.fragment:
        raise Wrong("holds a query or a fragment", "write the address of the directory only")
    return text


@dataclass(frozen=True, kw_only=True)
class Jump:
    """The parts of ``user@host:port``; user empty: that of ``ssh.user``."""

    user: str
    host: str
    port: int


def parse_jump(text: str) -> Jump:
    """Return the parts of a jump host.

    Raises:
        Wrong: It has another form.
    """
    match = _JUMP.fullmatch(text)
    if match is None:
        raise Wrong(f"{shown(text)} is no jump host", "write user@host:port, or [address]:port for IPv6")
    user = _text(USER, "a user name before the @")(match["user"]) if match["user"] else ""
    return Jump(user=user, host=_address(match["host"].strip("[]")), port=_port(match["port"] or "22"))


def _jump(text: str) -> str:
    parse_jump(text)
    return text


def _transport(text: str) -> str:
    names = get_args(TransportName)
    if text not in names:
        raise Wrong(f"{shown(text)} is no transport", nearest(text, names))
    return text


def _pattern(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$"}


def number(least: int, most: int = MAX_NUMBER) -> Kind:
    """Return the kind of whole numbers from ``least`` to ``most``."""
    schema: dict[str, Any] = {"type": "integer", "minimum": least}
    if most < MAX_NUMBER:
        schema["maximum"] = most
    return Kind(label=f"number from {least} on", schema=schema, read=_number(least, most))


_NAME_HINT = "letters, digits, '.', '_' and '-', beginning and ending with a letter or digit, at most 64"
SITE = Kind(
    label="name",
    schema=_pattern(SITE_NAME),
    read=_text(SITE_NAME, "lower-case letters, digits and '-', at most 32: receipts are signed in this name"),
)
HOST = Kind(label="name", schema=_pattern(HOST_NAME), read=_text(HOST_NAME, _NAME_HINT))
ADDRESS = Kind(label="host name or IP address", schema={"type": "string"}, read=_address)
PORT = Kind(label="port", schema={"type": "integer", "minimum": 1, "maximum": MAX_PORT}, read=_port)
LOGIN = Kind(label="user name", schema=_pattern(USER), read=_text(USER, "a user name"))
OWNED = Kind(label="user or group", schema=_pattern(OWNER), read=_text(OWNER, "a name or a number"))
FILE = Kind(label="absolute path", schema=_ABSOLUTE, read=_path)
ROOT = Kind(label="absolute path", schema=_ABSOLUTE, read=_root)
TARGET = Kind(label="target", schema=_pattern(TARGET_NAME.pattern.replace("?P<", "?<")), read=_target)
TRANSPORT = Kind(label="`ssh`, `openssh` or `local`", schema={"enum": list(get_args(TransportName))}, read=_transport)
URL = Kind(label="URL", schema={"type": "string", "pattern": "^https?://"}, read=_url)
JUMP = Kind(label="`user@host:port`", schema={"type": "string"}, read=_jump)
COMMAND = Kind(label="text on one line", schema={"type": "string"}, read=_one_line)
LINK_NAME = Kind(label="name", schema=_pattern(HOST_NAME), read=_text(HOST_NAME, _NAME_HINT))
BUNDLE = Kind(
    label="bundle id", schema=_pattern(BUNDLE_ID), read=_text(BUNDLE_ID, "write <name>-<version>-<sequence>")
)
BOOLEAN = Kind(label="`true` or `false`", schema={"type": "boolean"}, read=_boolean)
BYTES = Kind(
    label="size: bytes, or `50M`",
    schema={"anyOf": [{"type": "integer", "minimum": 0}, _pattern(SIZE)]},
    read=_size,
)

"""The far end of `bundle-install venv`: a service host that is sent the installer once and then unpacks by itself.

It needs sshd, a POSIX shell, GNU coreutils, and the Python that the venvs want anyway.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from bundler.errors import HostRefused
from bundler.transport.port import Channel, Transport

#: Where the installer and what is sent lie on a service host.
HOME = PurePosixPath("/opt/bundle-install")
_SUM = 'export LC_ALL=C; [ -f "$1" ] && sha256sum < "$1" || echo none'
#: A file appears whole and with the right bytes, or not at all.
_RECEIVE = """
export LC_ALL=C; set -eu; umask 022; mkdir -p "${1%/*}"; partial="$1.partial.$$"
trap 'rm -f "$partial"' EXIT
head -c "$2" > "$partial"
found=$(sha256sum < "$partial")
[ "${found%% *}" = "$3" ] || { echo "$1 arrived damaged" >&2; exit 1; }
chmod "$4" "$partial"
sync "$partial"
mv -f "$partial" "$1"
"""
_REMOVE = 'rm -f -- "$1"'
#: What the far end prints at most (bytes).
_MAX_RESULT = 4 << 20
_MAX_SAID = 2000


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A file to be on the far end: ``path`` there, and its bytes here."""

    path: PurePosixPath
    size: int
    sha256: str
    mode: str
    pieces: Iterable[bytes]


def ensure(transport: Transport, file: Sent) -> bool:
    """Send a file unless the far end has it; return whether it was sent.

    Raises:
        HostRefused: The far end cannot keep it.
        TransferFailed: The connection was cut.
    """
    found = b"".join(_output(transport, ["sh", "-c", _SUM, "sh", str(file.path)])).decode("ascii", "replace")
    if found.split()[:1] == [file.sha256]:
        return False
    arguments = [str(file.path), str(file.size), file.sha256, file.mode]
    channel = transport.open(["sh", "-c", _RECEIVE, "sh", *arguments])
    try:
        for piece in file.pieces:
            channel.send(piece)
        channel.end()
        _expect_success(transport, channel, str(file.path))
    finally:
        channel.close()
    return True


def remove(transport: Transport, path: PurePosixPath) -> None:
    """Remove a file that was sent; none is none."""
    for _ in _output(transport, ["sh", "-c", _REMOVE, "sh", str(path)]):
        pass


def ask(transport: Transport, argv: Sequence[str]) -> Any:
    """Run the installer on the far end with ``--json`` and return its result.

    Raises:
        HostRefused: It refused; the message and the hint are its own.
    """
    channel = transport.open([*argv, "--json"])
    try:
        data = b"".join(_bounded(transport, channel))
        ended = channel.finish()
    finally:
        channel.close()
    if ended.status != 0:
        raise _refusal(transport.label, ended.status, ended.stderr)
    try:
        return json.loads(data)
    except ValueError as error:
        raise HostRefused(f"{transport.label}: the installer there gave no JSON") from error


def _output(transport: Transport, argv: Sequence[str]) -> Iterator[bytes]:
    channel = transport.open(argv)
    try:
        yield from _bounded(transport, channel)
        _expect_success(transport, channel, argv[-1])
    finally:
        channel.close()


def _bounded(transport: Transport, channel: Channel) -> Iterator[bytes]:
    left = _MAX_RESULT
    while piece := channel.read(1 << 16):
        left -= len(piece)
        if left < 0:
            raise HostRefused(f"{transport.label}: it says more than {_MAX_RESULT} bytes")
        yield piece


def _expect_success(transport: Transport, channel: Channel, what: str) -> None:
    ended = channel.finish()
    if ended.status != 0:
        said = ended.stderr.strip()[-_MAX_SAID:]
        raise HostRefused(f"{transport.label}: {what}: {said or f'status {ended.status}'}")


def _refusal(label: str, status: int, stderr: str) -> HostRefused:
    """Return the error that the far end wrote as its last JSON line, or what it said else."""
    for line in reversed(stderr.splitlines()):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("event") == "Failed":
            return HostRefused(f"{label}: {event.get('message')}", hint=str(event.get("hint") or ""))
    return HostRefused(f"{label}: the installer ended with status {status}: {stderr.strip()[-_MAX_SAID:]}")

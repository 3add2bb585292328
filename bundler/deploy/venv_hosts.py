"""The far end of `bundle-install venv`: a service host that is sent the installer once and then unpacks by itself.

It needs sshd, a POSIX shell, GNU coreutils, and the Python that the venvs want anyway.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from bundler.errors import Busy, HostRefused, TransferFailed
from bundler.transport.port import Channel, Transport

#: Where the installer and what is sent lie on a service host.
HOME = PurePosixPath("/opt/bundle-install")
#: Says "have", or how many bytes came before a cut.
_LOOK = """
export LC_ALL=C; set -eu
if [ -f "$1" ]; then
    found=$(sha256sum < "$1")
    [ "${found%% *}" != "$2" ] || { echo have; exit 0; }
fi
if [ -f "$1.partial" ]; then stat -c %s "$1.partial"; else echo 0; fi
"""
#: How the far end says that another try may go better (EX_TEMPFAIL of sysexits.h).
_AGAIN = 75
#: A file appears whole and with the right bytes, or not at all; what came before a cut stays for the next time.
_RECEIVE = """
export LC_ALL=C; set -eu; umask 022; mkdir -p "${1%/*}"
[ "$5" -gt 0 ] || : > "$1.partial"
[ "$(stat -c %s "$1.partial")" -eq "$5" ] || { echo "somebody else sends $1 as well" >&2; exit 75; }
head -c "$(($2 - $5))" >> "$1.partial"
[ "$(stat -c %s "$1.partial")" -eq "$2" ] || { echo "$1 did not arrive to its end" >&2; exit 75; }
found=$(sha256sum < "$1.partial")
[ "${found%% *}" = "$3" ] || { rm -f "$1.partial"; echo "$1 arrived damaged" >&2; exit 1; }
chmod "$4" "$1.partial"
sync "$1.partial"
mv -f "$1.partial" "$1"
"""
#: Removes what lies beside a directory: leftovers of transfers that nobody went on with.
_ALONE = """
set -eu; cd "${1%/*}" 2>/dev/null || exit 0
for entry in *; do [ "$entry" = "${1##*/}" ] || rm -rf -- "$entry"; done
"""
_REMOVE = 'rm -rf -- "$1"'
#: What the far end prints at most (bytes).
_MAX_RESULT = 4 << 20
_MAX_SAID = 2000


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A file to be on the far end: ``path`` there, and its bytes here, from an offset on."""

    path: PurePosixPath
    size: int
    sha256: str
    mode: str
    pieces: Callable[[int], Iterable[bytes]]


def _nothing(_path: str, _offset: int) -> None:
    """Take no notice."""


def ensure(transport: Transport, file: Sent, on_there: Callable[[str, int], None] = _nothing) -> bool:
    """Send a file unless the far end has it, from where it was cut off; return whether it was sent.

    ``on_there`` is told how much of which path is there already.

    Raises:
        HostRefused: The far end cannot keep it.
        TransferFailed: The connection was cut; what arrived is gone on with.
    """
    path = str(file.path)
    there = read_output(transport, ["sh", "-c", _LOOK, "sh", path, file.sha256]).strip()
    if there == b"have":
        return False
    offset = int(there) if there.isdigit() and int(there) <= file.size else 0
    on_there(path, offset)
    arguments = [path, str(file.size), file.sha256, file.mode, str(offset)]
    channel = transport.open(["sh", "-c", _RECEIVE, "sh", *arguments])
    try:
        _send(transport, channel, file.pieces(offset))
        _expect_success(transport, channel, path)
    finally:
        channel.close()
    return True


def _send(transport: Transport, channel: Channel, pieces: Iterable[bytes]) -> None:
    try:
        for piece in pieces:
            channel.send(piece)
        channel.end()
    except TransferFailed:
        # Where the far end gave up by itself, it says why.
        with contextlib.suppress(TransferFailed):
            _expect_success(transport, channel, "not received")
        raise


def keep_alone(transport: Transport, path: PurePosixPath) -> None:
    """Remove everything that lies beside ``path``."""
    read_output(transport, ["sh", "-c", _ALONE, "sh", str(path)])


def remove(transport: Transport, path: PurePosixPath) -> None:
    """Remove a directory of what was sent; none is none."""
    read_output(transport, ["sh", "-c", _REMOVE, "sh", str(path)])


def ask(transport: Transport, argv: Sequence[str]) -> Any:
    """Run the installer on the far end with ``--json`` and return its result.

    Raises:
        HostRefused, Busy: It refused; the message and the hint are its own.
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


def read_output(transport: Transport, argv: Sequence[str]) -> bytes:
    """Run a command on the far end and return what it printed.

    Raises:
        HostRefused: It failed, or printed too much.
        TransferFailed: The connection was cut.
    """
    channel = transport.open(argv)
    try:
        said = b"".join(_bounded(transport, channel))
        _expect_success(transport, channel, argv[-1])
    finally:
        channel.close()
    return said


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
        said = ended.stderr.strip()[-_MAX_SAID:] or f"status {ended.status}"
        raise (TransferFailed if ended.status == _AGAIN else HostRefused)(f"{transport.label}: {what}: {said}")


def _refusal(label: str, status: int, stderr: str) -> HostRefused | Busy:
    """Return the error that the far end wrote as its last JSON line, or what it said else."""
    for line in reversed(stderr.splitlines()):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("event") == "Failed":
            kind = Busy if event.get("error") == Busy.__name__ else HostRefused
            return kind(f"{label}: {event.get('message')}", hint=str(event.get("hint") or ""))
    return HostRefused(f"{label}: the installer ended with status {status}: {stderr.strip()[-_MAX_SAID:]}")

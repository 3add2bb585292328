"""The audit log: what happened at this site, one JSON record per line, each bound to the line before it.

    {"event": …, "facts": {…}, "number": 7, "prev": …, "time": …, "tool": …, "who": {…}}

``prev`` is the SHA-256 of the line before, with its newline (of nothing for the first: 64 zeros), so that the head of
the log is what ``tail -n 1 audit.jsonl | sha256sum`` says. ``number`` counts from 1: what is missing has a size.
Lines are only ever added. A kill may tear the last one: the next record goes on a line of its own, after a record
``recovered`` that names the digest of each torn line and of the last whole one, so that they stay in the chain.

Events and their facts (all are added to; readers take what is there):

    trust initialised   version, digest, root_signers
    trust updated       version, digest, medium
    trust refused       medium, rule, message
    distrust            signers, keys, bundles, reason
    verified            bundle, sha256sums, signers, threshold, trust_version, targets, media, copied
    refused             rule, exit_code, message; where known bundle, sha256sums, media
    recorded            line, epoch, sequence, digest, floor, created         (the site's state rose)
    staged              host, bundle, digest, bytes
    activated           host, bundle, digest, previous
    rolled back         host, bundle, digest, previous; active where that is not ``bundle``
    failed              host, bundle, digest, message
    checked             host, differences, paths
    repaired            host, files, bytes
    pruned              host, bundles, bytes
    venv installed      host, venv, bundle, path
    venv rolled back    host, venv, path
    receipt             path, sha256
    recovered           torn, after                                           (digests of lines)

``bundle`` is an id, ``digest`` and ``sha256sums`` the SHA-256 of its SHA256SUMS, ``host`` a name from ``site.yaml``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bundler.clock import iso, now
from bundler.errors import StoreError
from bundler.files import appending
from bundler.version import own_version

#: What the first record follows.
START = "0" * 64
#: No record is longer; a longer line is none of ours.
MAX_RECORD = 1 << 20
RECOVERED = "recovered"
_KEYS = frozenset({"event", "facts", "number", "prev", "time", "tool", "who"})


@dataclass(frozen=True, kw_only=True)
class Record:
    """One event. ``line`` is its number in the file, ``number`` its own; they differ after a torn line."""

    line: int
    number: int
    prev: str
    time: str
    tool: str
    who: Mapping[str, Any]
    event: str
    facts: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the log: its number, its digest, whether its newline is there, its record if it holds one."""

    number: int
    digest: str
    whole: bool
    record: Record | None


class AuditLog:
    """The log at ``path``. Any number of processes may append."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: str, facts: Mapping[str, Any]) -> str:
        """Add a record durably and return the log's new head.

        Raises:
            SpaceError: There is no room for it.
        """
        with appending(self.path) as file:
            last, torn, newline = _end(file)
            data = b"" if newline else b"\n"
            if torn:
                after = last.digest if last else START
                number = last.number + 1 if last else 1
                healed = _format(RECOVERED, {"torn": list(torn), "after": after}, number=number, prev=torn[-1])
                data += healed
                head, number = _digest(healed), number + 1
            else:
                head, number = (last.digest, last.number + 1) if last else (START, 1)
            line = _format(event, facts, number=number, prev=head)
            file.write(data + line)
        return _digest(line)

    def records(self) -> Iterator[Record]:
        """Yield the records in order; lines that are none are passed over (see :mod:`bundler.deploy.audit_check`)."""
        for line in self.lines():
            if line.record is not None:
                yield line.record

    def records_of(self, event: str) -> Iterator[Record]:
        """Yield the records of one event; all others are not even parsed."""
        start = b'{"event":' + json.dumps(event).encode("ascii") + b","
        for line in self.lines(start):
            if line.record is not None:
                yield line.record

    def lines(self, start: bytes = b"") -> Iterator[Line]:
        """Yield every line that begins with ``start``.

        Raises:
            StoreError: The log cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                yield from _lines(file, start)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(
                f"cannot read the audit log {self.path}: {error.strerror}", hint="run it as root"
            ) from error

    def head(self) -> str:
        """Return the digest of the last record's line, of an empty log 64 zeros."""
        return self.position()[1]

    def position(self) -> tuple[int, str]:
        """Return number and digest of the last record."""
        found = (0, START)
        for record in self.records():
            found = (record.number, record.digest)
        return found


def _end(file: IO[bytes]) -> tuple[Record | None, tuple[str, ...], bool]:
    """Return the last record, the digests of torn lines after it, and whether the last line is whole."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - MAX_RECORD))
    tail = file.read()
    if tail.endswith(b"\n"):
        last = _parse(tail[tail.rfind(b"\n", 0, -1) + 1 :], 0)
        if last is not None:
            return last, (), True
    return _slow_end(file)


def _slow_end(file: IO[bytes]) -> tuple[Record | None, tuple[str, ...], bool]:
    file.seek(0)
    last: Record | None = None
    torn: list[str] = []
    whole = True
    for line in _lines(file):
        whole = line.whole
        if line.record is not None:
            last, torn = line.record, []
        else:
            torn.append(line.digest)
    return last, tuple(torn), whole


def _lines(file: IO[bytes], start: bytes = b"") -> Iterator[Line]:
    """Read line by line, a too long one in pieces. A line's digest is with the newline that it has or will get."""
    number = 0
    while data := file.readline(MAX_RECORD):
        number += 1
        if not data.startswith(start) and data.endswith(b"\n"):
            continue
        digest = hashlib.sha256(data)
        record = _parse(data if data.endswith(b"\n") else data + b"\n", number)
        while not data.endswith(b"\n") and (data := file.readline(MAX_RECORD)):
            digest.update(data)
            record = None
        if not data.endswith(b"\n"):
            digest.update(b"\n")
        yield Line(number=number, digest=digest.hexdigest(), whole=data.endswith(b"\n"), record=record)


def _parse(data: bytes, line: int) -> Record | None:
    """Return the record that a line holds; None if it is not exactly as we write one."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or frozenset(value) != _KEYS or _dump(value) != data:
        return None
    typed = isinstance(value["number"], int) and isinstance(value["facts"], dict) and isinstance(value["who"], dict)
    if not typed or not all(isinstance(value[key], str) for key in ("event", "prev", "time", "tool")):
        return None
    return Record(line=line, digest=_digest(data), **value)


def _format(event: str, facts: Mapping[str, Any], *, number: int, prev: str) -> bytes:
    line = _dump(
        {
            "event": event,
            "facts": dict(facts),
            "number": number,
            "prev": prev,
            "time": iso(now()),
            "tool": own_version(),
            "who": _who(),
        }
    )
    if len(line) > MAX_RECORD:
        raise StoreError(f"a record {event!r} of {len(line)} bytes is too long for the audit log")
    return line


def _dump(value: Mapping[str, Any]) -> bytes:
    """Return one line of ASCII: nothing in a fact can end it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _who() -> dict[str, Any]:
    """Return who runs us: user id, who logged in, on which terminal, and before sudo."""
    login = tty = ""
    with contextlib.suppress(OSError):
        login = os.getlogin()
    with contextlib.suppress(OSError):
        tty = os.ttyname(0)
    return {"uid": os.getuid(), "login": login, "tty": tty, "sudo_user": os.environ.get("SUDO_USER", "")}

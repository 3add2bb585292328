"""What bringing a venv to a service host, or going back there, would change: told by reading alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from bundler.deploy.facts import Fact, with_fact
from bundler.deploy.venv_hosts import read_output
from bundler.deploy.venv_record import RECORD, VenvRecord, parse_record
from bundler.transport.port import Transport

#: First line: what the link points to; then a line for each of our venvs: its name, and what we wrote into it.
_LOOK = """
export LC_ALL=C; set -eu
cd "$1" 2>/dev/null || exit 0
readlink -- "$2" || echo
for record in */"$3"; do
    venv=${record%/*}
    [ -f "$record" ] && [ ! -L "$venv" ] || continue
    printf '%s\\t%s\\n' "$venv" "$(cat -- "$record")"
done
"""
_READ = '[ ! -f "$1" ] || cat -- "$1"'


@dataclass(frozen=True, kw_only=True)
class There:
    """What a service host has: the name that the link points to, if there is one, and our venvs beside it."""

    active: str | None
    venvs: Mapping[str, VenvRecord]

    def has(self, name: str, archive: str, *, copied: bool) -> bool:
        """Return whether the venv of this name is in use, and was made of this archive in this way."""
        found = self.venvs.get(name)
        return self.active == name and found is not None and (found.archive, found.copied) == (archive, copied)


def look(transport: Transport, into: str, link: str) -> There:
    """Return which venvs a service host has in the directory ``into``.

    Raises:
        HostRefused, TransferFailed: It does not say.
    """
    said = read_output(transport, ["sh", "-c", _LOOK, "sh", into, link, RECORD]).decode("utf-8", "replace")
    active, _, records = said.partition("\n")
    return There(active=active or None, venvs=dict(_records(records)))


def differs(transport: Transport, fact: Fact) -> bool:
    """Return whether a service host's file would change if the fact were written.

    Raises:
        HostRefused, TransferFailed: It does not say.
    """
    said = read_output(transport, ["sh", "-c", _READ, "sh", str(PurePosixPath(fact.file))])
    text = said.decode("utf-8", "replace")
    return with_fact(text, fact) != text


def _records(text: str) -> Iterator[tuple[str, VenvRecord]]:
    for line in text.splitlines():
        name, _, data = line.partition("\t")
        try:
            fields = json.loads(data)
        except ValueError:
            continue
        record = parse_record(fields) if isinstance(fields, dict) else None
        if record is not None:
            yield name, record

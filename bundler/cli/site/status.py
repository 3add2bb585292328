"""`bundle-install status`: what does every repo host have?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.fleet_tables import drop_empty, error_value, host_option
from bundler.cli.site_options import site_options
from bundler.cli.stages import human_size
from bundler.clock import iso
from bundler.deploy.fleet import require_all
from bundler.deploy.outcome import reason
from bundler.deploy.peers import Astray
from bundler.deploy.places import Places
from bundler.repohost.port import HostFacts
from bundler.workflows.site.status import Status, status


@click.command("status", epilog=epilog("bundle-install status", "bundle-install status --host repo1 --json"))
@host_option
@site_options
@click.pass_obj
def command(output: Output, /, places: Places, hosts: tuple[str, ...]) -> None:
    """Say what every repo host serves, what it could go back to, what is proved and waits, and its last check.

    A host that serves another release of a line than most hosts with its targets is marked (*). Nothing is read but
    lists: `bundle-install check` reads every file. Exit status 80: a host does not answer.
    """
    found = status(places, hosts, output.emit)
    output.show(_value(found), lambda: _show(output, found))
    require_all(found.hosts, "looking")


def _value(found: Status) -> dict[str, Any]:
    return {
        "hosts": [
            {
                "host": one.host.name,
                "error": error_value(one.error),
                "checked": found.checks[one.host.name].time if one.host.name in found.checks else None,
                "differences": found.checks[one.host.name].differences if one.host.name in found.checks else None,
                "astray": [
                    {"line": odd.line, "active": odd.active, "peers": dict(odd.peers)}
                    for odd in found.astray.get(one.host.name, ())
                ],
                **(_facts_value(one.value) if one.value else {}),
            }
            for one in found.hosts
        ]
    }


def _facts_value(facts: HostFacts) -> dict[str, Any]:
    return {
        "system": facts.system,
        "free": facts.free,
        "trust": facts.trust,
        "holder": facts.holder,
        "releases": [
            {
                "id": one.id,
                "line": one.line,
                "state": one.state,
                "sequence": one.sequence,
                "sha256sums": one.digest,
                "targets": list(one.targets),
                "admitted": iso(one.admitted) if one.admitted else None,
            }
            for one in facts.releases
        ],
    }


def _show(output: Output, found: Status) -> None:
    rows: list[tuple[str, ...]] = []
    for one in found.hosts:
        name, check = one.host.name, found.checks.get(one.host.name)
        drift = "" if check is None else f"{check.differences or 'no'} differences at {check.time}"
        if one.value is None:
            rows.append((name, "", "", "", "", "", "", "", reason(name, one.error)))
            continue
        facts = one.value
        odd = {one.line: one for one in found.astray.get(name, ())}
        rows += [
            (
                name,
                line,
                *_columns(facts, line, mark="*" * (line in odd)),
                str(facts.trust),
                human_size(facts.free),
                drift,
                "; ".join(_notes(facts, odd.get(line))),
            )
            for line in sorted({*odd, *(release.line for release in facts.releases)}) or [""]
        ]
    columns = ("host", "line", "active", "previous", "staged", "#trust", "#free", "last check", "note")
    output.table("", *drop_empty(columns, rows))


def _notes(facts: HostFacts, odd: Astray | None) -> Iterator[str]:
    if facts.holder:
        yield f"{facts.holder} works there"
    if odd is not None:
        peers = (
            f"{count} of its peers {'serves' if count == 1 else 'serve'} {release.rpartition('-')[2] or 'nothing'}"
            for release, count in odd.peers
        )
        yield ", ".join(peers)


def _columns(facts: HostFacts, line: str, *, mark: str) -> tuple[str, str, str]:
    def ids(state: str) -> str:
        return " ".join(one.id.rpartition("-")[2] for one in facts.releases if (one.line, one.state) == (line, state))

    return f"{ids('active') or '-'}{mark}", ids("previous"), ids("staged")

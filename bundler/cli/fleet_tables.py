"""How plans and outcomes of repo hosts are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from bundler.cli.context import Output
from bundler.cli.stages import human_size
from bundler.deploy.outcome import Applied, Outcome, reason
from bundler.deploy.plan import HostPlan, Plan
from bundler.errors import BundlerError

host_option = click.option(
    "--host", "hosts", multiple=True, metavar="NAME", help="Only this repo host; may be given several times."
)


def plan_value(plan: Plan) -> dict[str, Any]:
    """Return a plan for JSON."""
    return {
        "bundle": plan.id,
        "sequence": plan.sequence,
        "sha256sums": plan.digest,
        "possible": not plan.problems,
        "hosts": [_host_value(host) for host in plan.hosts],
    }


def show_plan(output: Output, plan: Plan) -> None:
    """Show a plan to people."""
    rows = [
        (
            host.host,
            _doing(host),
            host.active or "-",
            str(host.files or ""),
            human_size(host.send) if host.send else "",
            human_size(host.have + host.resume) if host.have + host.resume else "",
            human_size(host.needed) if host.needed else "",
            human_size(host.free) if host.free else "",
        )
        for host in plan.hosts
    ]
    columns = ("host", "what happens", "active now", "#files", "#to send", "#there", "#needs", "#free")
    output.table(f"Plan for {plan.id}", columns, rows)
    for host in plan.hosts:
        if host.pruned:
            output.out(f"{host.host}: retention then removes {', '.join(host.pruned)}")
        if host.lacking and host.targets:
            output.out(f"{host.host}: the bundle has nothing for {', '.join(host.lacking)}")


def outcome_value(outcome: Outcome) -> dict[str, Any]:
    """Return what became of a host, for JSON."""
    return {
        "host": outcome.host,
        "state": outcome.state,
        "active": outcome.active,
        "sent": outcome.sent,
        "freed": outcome.freed,
        "error": error_value(outcome.error),
    }


def show_applied(output: Output, applied: Applied) -> None:
    """Show what became of every host."""
    rows = [
        (
            one.host,
            one.state,
            one.active or "-",
            human_size(one.sent) if one.sent else "",
            human_size(one.freed) if one.freed else "",
            reason(one.host, one.error),
        )
        for one in applied.outcomes
    ]
    columns = ("host", "result", "active", "#sent", "#freed", "why")
    output.table(applied.id, drop_empty(columns, rows)[0], drop_empty(columns, rows)[1])


def drop_empty(
    columns: Iterable[str], rows: Iterable[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return a table without the columns in which no row has anything."""
    names, table = tuple(columns), list(rows)
    kept = [number for number in range(len(names)) if number == 0 or any(row[number] for row in table)]
    return tuple(names[number] for number in kept), [tuple(row[number] for number in kept) for row in table]


def error_value(error: BundlerError | None) -> dict[str, Any] | None:
    """Return an error for JSON."""
    if error is None:
        return None
    return {"error": error.rule, "exit_code": error.exit_code, "message": error.message, "hint": error.hint}


def _doing(host: HostPlan) -> str:
    if host.unreachable:
        return "cannot be reached"
    if host.problems:
        return "refused"
    if host.current:
        return "up to date"
    if host.writer:
        return f"sees what {host.writer} writes"
    return "activate" if host.ready else "send, prove, activate"


def _host_value(host: HostPlan) -> dict[str, Any]:
    return {
        "host": host.host,
        "doing": _doing(host),
        "writer": host.writer,
        "targets": list(host.targets),
        "targets_lacking": list(host.lacking),
        "files": host.files,
        "blobs_missing": host.missing,
        "bytes_to_send": host.send,
        "bytes_there": host.have,
        "bytes_to_resume": host.resume,
        "bytes_needed": host.needed,
        "bytes_free": host.free,
        "active": host.active,
        "pruned": list(host.pruned),
        "trust": host.trust,
        "problems": [{"what": one.what, "hint": one.hint} for one in host.problems],
        "unreachable": error_value(host.unreachable),
    }

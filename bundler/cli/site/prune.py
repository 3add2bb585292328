"""`bundle-install prune`: remove what retention no longer keeps."""

from __future__ import annotations

import sys
from typing import Any

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.fleet_tables import drop_empty, error_value, host_option
from bundler.cli.site_options import site_options
from bundler.cli.stages import human_size
from bundler.deploy.outcome import reason
from bundler.deploy.places import Places
from bundler.workflows.site.prune import PruneAll, PruneRequest, plan_prune, prune


@click.command("prune", epilog=epilog("bundle-install prune --dry-run", "bundle-install prune --yes --host repo1"))
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask at a terminal.")
@host_option
@site_options
@click.pass_obj
def command(output: Output, /, places: Places, hosts: tuple[str, ...], *, dry_run: bool, yes: bool) -> None:
    """Remove releases beyond retention.keep from repo hosts, pushes cut long ago, and old copies of media from here.

    What is active, was active before it, or is pinned stays. It works with a full disk.
    """
    request = PruneRequest(places=places, hosts=hosts)
    if dry_run:
        found = plan_prune(request, output.emit)
    else:
        found = prune(request, lambda planned: _agree(output, planned, yes=yes), output.emit)
    output.show(_value(found), lambda: _show(output, found, "would go" if dry_run else "removed"))
    found.require_success()


def _agree(output: Output, planned: PruneAll, *, yes: bool) -> bool:
    if output.json or yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    _show(output, planned, "would go")
    return click.confirm("Remove it?", err=True)


def _value(found: PruneAll) -> dict[str, Any]:
    return {
        "hosts": [
            {
                "host": one.host.name,
                "releases": list(one.value.releases) if one.value else [],
                "pushes": list(one.value.pushes) if one.value else [],
                "blobs": one.value.blobs if one.value else 0,
                "size": one.value.size if one.value else 0,
                "error": error_value(one.error),
            }
            for one in found.hosts
        ],
        "staging": [path.name for path in found.local.paths],
        "staging_size": found.local.size,
    }


def _show(output: Output, found: PruneAll, what: str) -> None:
    rows = [
        (
            one.host.name,
            " ".join((*one.value.releases, *one.value.pushes)) or "no release",
            str(one.value.blobs or ""),
            human_size(one.value.size),
            "",
        )
        if one.value
        else (one.host.name, "", "", "", reason(one.host.name, one.error))
        for one in found.hosts
    ]
    rows.append(("here", f"{len(found.local.paths)} copies of media", "", human_size(found.local.size), ""))
    output.table("", *drop_empty(("where", what, "#blobs", "#size", "note"), rows))

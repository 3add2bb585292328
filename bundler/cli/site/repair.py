"""`bundle-install repair`: put back what was signed."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.fleet_tables import error_value, host_option
from bundler.cli.next_medium import next_medium
from bundler.cli.site_options import site_options
from bundler.cli.stages import human_size
from bundler.deploy.outcome import reason
from bundler.deploy.places import Places
from bundler.workflows.site.repair import Repaired, RepairRequest, repair


@click.command("repair", epilog=epilog("bundle-install repair", "bundle-install repair --host repo1 /media/stick"))
@click.argument("media", metavar="[MEDIUM...]", nargs=-1, type=click.Path(exists=True, path_type=Path))
@host_option
@site_options
@click.pass_obj
def command(output: Output, /, media: tuple[Path, ...], places: Places, hosts: tuple[str, ...]) -> None:
    """Check every repo host and put back what was signed where something differs. Nothing else is touched.

    Missing bytes come from the copy that this host keeps of the newest bundle, from other repo hosts, or from MEDIUM;
    signed tables also from what this host keeps of every release. A host takes those by its own trust only.
    """
    request = RepairRequest(places=places, media=media, hosts=hosts)
    found = repair(request, output.emit, next_medium(output))
    value = {
        "hosts": [
            {
                "host": one.host.name,
                "differences": one.value.differences if one.value else None,
                "sent": one.value.sent if one.value else None,
                "error": error_value(one.error),
            }
            for one in found.answers
        ]
    }
    output.show(value, lambda: _show(output, found))
    found.require_success()


def _show(output: Output, found: Repaired) -> None:
    for one in found.answers:
        if one.value is None:
            output.out(f"{one.host.name}: {reason(one.host.name, one.error)}")
        elif one.value.differences or one.value.sent:
            output.out(
                f"{one.host.name}: {one.value.differences} differences mended, {human_size(one.value.sent)} sent"
            )
        else:
            output.out(f"{one.host.name}: as it was signed")

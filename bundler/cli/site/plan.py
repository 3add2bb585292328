"""`bundle-install plan`: what would `apply` do to each repo host?"""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.fleet_tables import plan_value, show_plan
from bundler.cli.next_medium import next_medium
from bundler.cli.site_options import site_options
from bundler.deploy.places import Places
from bundler.workflows.site.plan import PlanRequest, plan

EXAMPLES = epilog("bundle-install plan /media/stick", "bundle-install plan /media/stick-1 /media/stick-2 --json")


@click.command("plan", epilog=EXAMPLES)
@click.argument("media", metavar="MEDIUM...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@site_options
@click.pass_obj
def command(output: Output, /, media: tuple[Path, ...], places: Places) -> None:
    """Check the bundle on MEDIUM and say what applying it would do to each repo host.

    No host is changed. Here, new trust documents on MEDIUM are kept and the audit log gets a line.

    Exit status 82: a host is in no state for it (all problems are listed). 80: more hosts cannot be reached than
    gates.max_failed allows; apply would bring the release to the others and activate it on none.
    """
    found = plan(PlanRequest(media=media, places=places), output.emit, next_medium(output))
    output.show(plan_value(found), lambda: show_plan(output, found))
    found.require_possible()
    found.require_reachable()

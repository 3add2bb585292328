"""`bundle-install apply`: bring the bundle to every repo host, and activate it on all of them or on none."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.fleet_tables import outcome_value, plan_value, show_applied, show_plan
from bundler.cli.next_medium import next_medium
from bundler.cli.site_options import site_options
from bundler.deploy.places import Places
from bundler.deploy.plan import Plan
from bundler.workflows.site.apply import ApplyRequest, apply
from bundler.workflows.site.plan import PlanRequest, plan

EXAMPLES = epilog(
    "bundle-install apply /media/stick",
    "bundle-install apply /media/stick --dry-run",
    "bundle-install apply /media/stick-1 /media/stick-2 --yes --json",
)


@click.command("apply", epilog=EXAMPLES)
@click.argument("media", metavar="MEDIUM...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show the plan, as `bundle-install plan` does.")
@click.option("--yes", is_flag=True, help="Do not ask at a terminal whether the plan is to be carried out.")
@site_options
@click.pass_obj
def command(output: Output, /, media: tuple[Path, ...], places: Places, *, dry_run: bool, yes: bool) -> None:
    """Check the bundle on MEDIUM, copy it, send every repo host what it lacks, and activate it on all or on none.

    No host serves it before all have it proved. Killed, cut off or stopped, it leaves every host with the old
    release or the new one; run it again to go on. A host that has it already, but for damaged signed tables, gets
    those again. Exit status 86: too many hosts failed, all serve what they served, be it nothing; 87: as many failed
    as gates.max_failed allows, all others serve the release.
    """
    if dry_run:
        found = plan(PlanRequest(media=media, places=places), output.emit, next_medium(output))
        output.show(plan_value(found), lambda: show_plan(output, found))
        found.require_possible()
        found.require_reachable()
        return
    plans: list[Plan] = []

    def agree(found: Plan) -> bool:
        plans.append(found)
        if output.json:
            return True
        show_plan(output, found)
        asked = sys.stdin.isatty() and sys.stderr.isatty() and not yes
        return not asked or click.confirm("Carry this out?", err=True)

    applied = apply(ApplyRequest(media=media, places=places), agree, output.emit, next_medium(output))
    value = {
        "bundle": applied.id,
        "stopped": applied.stopped,
        "hosts": [outcome_value(one) for one in applied.outcomes],
        "plan": [plan_value(one) for one in plans][-1],
    }
    output.show(value, lambda: show_applied(output, applied))
    applied.require_success()

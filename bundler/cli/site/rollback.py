"""`bundle-install rollback`: serve the previous release again."""

from __future__ import annotations

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.fleet_tables import error_value, host_option
from bundler.cli.site_options import site_options
from bundler.deploy.outcome import reason
from bundler.deploy.places import Places
from bundler.workflows.site.rollback import RollbackRequest, RolledBack, rollback

EXAMPLES = epilog("bundle-install rollback", "bundle-install rollback openstack-2026.1 --host repo1")


@click.command("rollback", epilog=EXAMPLES)
@click.argument("line", metavar="[NAME-VERSION]", default="")
@host_option
@site_options
@click.pass_obj
def command(output: Output, /, places: Places, line: str, hosts: tuple[str, ...]) -> None:
    """Let every repo host serve the release before the newest again. No medium is needed, nothing is sent.

    NAME-VERSION says what goes back where hosts serve several. Run again after a failure, it does what is left. To go
    forward, apply the newer bundle. A release below a floor (exit status 76), one that too few signed who still count
    (70), or a revoked one (78) is never served again: this host looks first, and every repo host by its own trust.
    """
    found = rollback(RollbackRequest(places=places, line=line, hosts=hosts), output.emit)
    value = {
        "line": found.plan.line,
        "to": found.plan.to.id,
        "hosts": [
            {"host": one.host.name, "active": one.value, "error": error_value(one.error)} for one in found.answers
        ],
    }
    output.show(value, lambda: _show(output, found))
    found.require_success()


def _show(output: Output, found: RolledBack) -> None:
    if not found.answers:
        output.out(f"{found.plan.to.id} is active already")
    for one in found.answers:
        said = f"{one.value} is active" if one.value else reason(one.host.name, one.error)
        output.out(f"{one.host.name}: {said}")

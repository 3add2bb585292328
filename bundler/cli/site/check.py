"""`bundle-install check`: is what every repo host has what was signed?"""

from __future__ import annotations

from dataclasses import asdict

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.fleet_tables import error_value, host_option
from bundler.cli.site_options import site_options
from bundler.deploy.outcome import reason
from bundler.deploy.places import Places
from bundler.workflows.site.check import Checked, CheckRequest, check


@click.command("check", epilog=epilog("bundle-install check", "bundle-install check --host repo1 --http"))
@host_option
@click.option("--http", is_flag=True, help="Also fetch every file from the url of each host and compare it.")
@site_options
@click.pass_obj
def command(output: Output, /, places: Places, hosts: tuple[str, ...], *, http: bool) -> None:
    """Hash every served file of every repo host again, there, and name what was added, removed or changed.

    So are the signed tables by which that is told, and compared with what this host keeps of them. Exit status 85:
    something differs.
    """
    found = check(CheckRequest(places=places, hosts=hosts, http=http), output.emit)
    value = {
        "hosts": [
            {
                "host": one.host.name,
                "differences": [asdict(difference) for difference in one.value or ()],
                "error": error_value(one.error),
            }
            for one in found.answers
        ]
    }
    output.show(value, lambda: _show(output, found))
    found.require_clean()


def _show(output: Output, found: Checked) -> None:
    for one in found.answers:
        if one.value is None:
            output.out(f"{one.host.name}: {reason(one.host.name, one.error)}")
        elif one.value:
            rows = [(difference.kind, difference.path, difference.detail) for difference in one.value]
            output.table(f"{one.host.name}: {len(rows)} differences", ("what", "path", "how"), rows)
        else:
            output.out(f"{one.host.name}: as it was signed")

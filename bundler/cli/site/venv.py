"""`bundle-install venv`: venvs of an applied release onto service hosts."""

from __future__ import annotations

from typing import Any

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.fleet_tables import error_value
from bundler.cli.site_options import site_options
from bundler.deploy.facts import parse_fact
from bundler.deploy.places import Places
from bundler.workflows.site.venv import Installed, VenvRequest, install_venvs

EXAMPLES = epilog(
    "bundle-install venv compute1 compute2 --venv nova --fact openstack_ansible:nova:venv_tag=33.0.1",
    "bundle-install venv root@compute3 --venv nova --venv neutron --fetch http://repo1",
    "bundle-install venv compute1 --venv nova --rollback",
    "bundle-install venv compute1 --venv nova --rollback --to nova-33.0.0",
)


@click.command("venv", epilog=EXAMPLES)
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@click.option("--venv", "venvs", multiple=True, required=True, metavar="NAME", help="A venv, e.g. nova.")
@click.option("--release", default="", metavar="ID|LINE",
              help="An applied release, or a line (openstack-2026.1): what repo hosts serve of it.")  # fmt: skip
@click.option("--target", default="", help="The hosts' target where site.yaml does not say it.")
@click.option("--fetch", default="", metavar="URL",
              help="Let the hosts fetch archives from the repo host at URL instead of sending them.")  # fmt: skip
@click.option("--into", default="", metavar="DIR", help="The directory of the venvs (that of their install path).")
@click.option("--keep", type=click.IntRange(min=0), default=2, show_default=True,
              help="How many older venvs of each name to keep.")  # fmt: skip
@click.option("--fact", "facts", multiple=True, metavar="FILE:SECTION:OPTION=VALUE",
              help="A local fact for Ansible on every host, written if it differs.")  # fmt: skip
@click.option("--copy", is_flag=True, help="Share no file between the venvs of a host.")
@click.option("--rollback", is_flag=True, help="Switch back to what was in use before; no archive is sent.")
@click.option("--to", default="", metavar="NAME", help="With --rollback: which older venv, e.g. nova-33.0.0.")
@click.option("--dry-run", is_flag=True, help="Only ask the hosts what would change; nothing is sent.")
@site_options
@click.pass_obj
def command(output: Output, /, places: Places, **options: Any) -> None:
    """Put venvs onto each HOST over SSH, beside the old ones, and switch to them; all hosts at once.

    HOST is a name of service_hosts in site.yaml, or user@host. The installer is sent there once. Each host compares
    what it gets with the digest that was signed. Venvs are those of the release that the repo hosts serve, unless
    another one is named; one that was revoked, or is distrusted, is refused. Going back twice goes back once.
    """
    for fact in options["facts"]:
        parse_fact(fact)
    done = install_venvs(VenvRequest(places=places, **options), output.emit)
    value = {
        "dry_run": options["dry_run"],
        "release": done.release,
        "hosts": [
            {"host": one.host, "venvs": list(one.venvs), "error": error_value(one.error)} for one in done.results
        ],
    }
    output.show(value, lambda: _show(output, done, dry_run=options["dry_run"]))
    done.require_success()


def _show(output: Output, done: Installed, *, dry_run: bool) -> None:
    now, before = ("would be in use", "is in use already") if dry_run else ("is in use now", "was in use")
    for one in done.results:
        if one.error is not None:
            output.out(f"{one.host}: {one.error.message}")
        for venv in one.venvs:
            how = now if venv["changed"] else before
            output.out(f"{one.host}: {venv['path']} {how}, as {venv['link']}")
            for file in venv["facts"]:
                output.out(f"{one.host}: {file} {'would change' if dry_run else 'changed'}")

"""`bundle-install site`: check, sample, schema, host-script."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.site_options import site_options
from bundler.deploy.places import Places
from bundler.model.site_reference import site_sample, site_schema
from bundler.repohost.script import full_text
from bundler.workflows.site.site import check_site


@click.group("site")
def command() -> None:
    """Check and document site.yaml."""


@command.command(
    "check", epilog=epilog("bundle-install site check", "bundle-install site check new-site.yaml --json")
)
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@site_options
@click.pass_obj
def check(output: Output, file: Path | None, places: Places) -> None:
    """Name every problem of FILE (default: site.yaml of this site), of its keys and of its host keys."""
    path = file or places.site
    site = check_site(path)
    value = {
        "file": str(path),
        "site": site.name,
        "targets": list(site.all_targets),
        "repo_hosts": [host.name for host in site.repo_hosts],
        "service_hosts": [host.name for host in site.service_hosts],
    }

    def render() -> None:
        hosts = f"{len(site.repo_hosts)} repo hosts, {len(site.service_hosts)} service hosts"
        output.out(f"{path}: site {site.name}, {hosts}, no problems")

    output.show(value, render)


@command.command("sample", epilog=epilog("bundle-install site sample > /etc/bundle-install/site.yaml"))
@click.pass_obj
def show_sample(output: Output) -> None:
    """Print a commented site.yaml with every field."""
    text = site_sample()
    output.show({"sample": text}, lambda: output.out(text.rstrip("\n")))


@command.command("schema", epilog=epilog("bundle-install site schema > site.schema.json"))
@click.pass_obj
def show_schema(output: Output) -> None:
    """Print the JSON Schema of site.yaml, for editors."""
    output.data(site_schema())


@command.command("host-script", epilog=epilog("bundle-install site host-script > bundle-repo"))
@click.pass_obj
def host_script(output: Output) -> None:
    """Print the script of a repo host, to be installed where a login may run nothing else."""
    text = full_text()
    output.show({"script": text}, lambda: output.out(text.rstrip("\n")))

"""`bundle-install osa-vars`: what OpenStack-Ansible has to be told."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.site_options import site_options
from bundler.deploy.places import Places
from bundler.model.osa_variables import BRANCHES, OsaVariables, Variable
from bundler.workflows.site.osa_vars import OsaVarsRequest, osa_vars

_WIDTH = 100


@click.command(
    "osa-vars",
    epilog=epilog(
        "bundle-install osa-vars > /etc/openstack_deploy/user_bundle.yml",
        "bundle-install osa-vars /media/stick --branch 2025.1",
    ),
)
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--branch", default="", type=click.Choice(["", *BRANCHES]), help="Of OpenStack-Ansible.")
@click.option("--release", default="", help="An id, or a line of which the served release is meant.")
@site_options
@click.pass_obj
def command(output: Output, /, bundle: Path | None, places: Places, branch: str, release: str) -> None:
    """Print variables for OpenStack-Ansible, as user_bundle.yml for /etc/openstack_deploy, with the reason of each.

    Of the release that the repo hosts serve, or of BUNDLE on a medium, whose signatures are not checked here. What no
    variable can say stands in comments.
    """
    found = osa_vars(OsaVarsRequest(places=places, bundle=bundle, release=release, branch=branch))
    output.show(_value(found), lambda: output.out("\n".join(_lines(found))))


def _value(found: OsaVariables) -> dict[str, Any]:
    return {
        "bundle": found.bundle,
        "branch": found.branch,
        "release": found.release,
        "variables": {one.name: one.value for one in found.variables},
        "why": {one.name: one.why for one in found.variables},
        "advice": list(found.advice),
    }


def _lines(found: OsaVariables) -> Iterator[str]:
    yield "---"
    yield from _comment(f"OpenStack-Ansible {found.branch}, openstack_release {found.release}, from {found.bundle}.")
    for text in found.advice:
        yield "#"
        yield from _comment(text)
    for one in found.variables:
        yield ""
        yield from _comment(one.why)
        yield _yaml(one)


def _comment(text: str) -> list[str]:
    """Return lines of a comment; what is no text for people cannot end it."""
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]


def _yaml(one: Variable) -> str:
    document: str = yaml.safe_dump({one.name: one.value}, default_flow_style=False, width=10_000, allow_unicode=True)
    return document.rstrip("\n")

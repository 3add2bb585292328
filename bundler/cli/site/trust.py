"""`bundle-install trust`: who may sign what this site installs."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.site_options import site_options
from bundler.cli.trust_table import show_trust, trust_value
from bundler.deploy.places import Places
from bundler.deploy.trust_store import Trust, TrustStore
from bundler.workflows.site.trust import distrust, init_trust, update_trust


@click.group("trust")
def command() -> None:
    """Say who may sign what this site installs: begin, look, update, take away."""


_MEDIUM = click.argument("medium", type=click.Path(exists=True, path_type=Path))


@command.command(
    "init",
    epilog=epilog("bundle-install trust init --root-digest '1b2c3d4e 5f60718a …' /media/stick"),
)
@_MEDIUM
@click.option("--root-digest", required=True, help="SHA-256 of trust-0001/SHA256SUMS, from your paper card.")
@site_options
@click.pass_obj
def init(output: Output, /, medium: Path, root_digest: str, places: Places) -> None:
    """Begin: trust the first document on MEDIUM, by the digest that people carried here, and those that follow it."""
    _show(output, init_trust(places, medium, root_digest, output.emit))


@command.command("show", epilog=epilog("bundle-install trust show", "bundle-install trust show --json"))
@site_options
@click.pass_obj
def show(output: Output, /, places: Places) -> None:
    """Show who may sign, how many must, and what is no longer trusted."""
    _show(output, TrustStore(places).current())


@command.command("update", epilog=epilog("bundle-install trust update /media/stick"))
@_MEDIUM
@site_options
@click.pass_obj
def update(output: Output, /, medium: Path, places: Places) -> None:
    """Accept newer trust documents on MEDIUM, each by the quorums of two; apply does it too."""
    trust, versions = update_trust(places, medium, output.emit)
    if not versions and not output.json:
        output.out(f"nothing newer than trust {trust.document.version}")
    _show(output, trust)


@command.command(
    "distrust",
    epilog=epilog(
        "bundle-install trust distrust signer alice --reason 'her laptop was stolen'",
        "bundle-install trust distrust key SHA256:…",
        "bundle-install trust distrust bundle 5a3c…",
    ),
)
@click.argument("kind", type=click.Choice(["signer", "key", "bundle"]))
@click.argument("value")
@click.option("--reason", default="", help="For the audit log.")
@site_options
@click.pass_obj
def distrust_(output: Output, /, kind: str, value: str, reason: str, places: Places) -> None:
    """Trust a signer, a key or a bundle no longer, at this site and at once; nothing is ever trusted more by this."""
    _show(output, distrust(places, kind, value, reason))


def _show(output: Output, trust: Trust) -> None:
    value = trust_value(trust.document, trust.digest, trust.distrust)
    output.show(value, lambda: show_trust(output, trust.document, trust.digest, trust.distrust))

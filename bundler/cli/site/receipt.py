"""`bundle-install receipt`: what this site has, signed, for the way home."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.fleet_tables import error_value
from bundler.cli.receipt_table import render_receipt
from bundler.cli.site_options import site_options
from bundler.deploy.places import Places
from bundler.deploy.receipts import HOST_KEY
from bundler.repohost.releases import HOST_KEY as REPO_HOST_KEY
from bundler.workflows.site.receipt import ReceiptRequest, write_receipt


@click.command(
    "receipt", epilog=epilog("bundle-install receipt", "bundle-install receipt --to /media/stick --ask-hosts")
)
@click.option(
    "--to",
    "medium",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write it to this medium, beside the bundles.",
)
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    default=HOST_KEY,
    show_default=True,
    help="Private key that signs it: the connected side knows its public half.",
)
@click.option(
    "--ask-hosts", "ask", is_flag=True, help="Also let every repo host say what it has, signed with its own host key."
)
@click.option(
    "--host-key",
    default=REPO_HOST_KEY,
    show_default=True,
    help="With --ask-hosts: private key on the repo hosts; its public half is in this site's known_hosts.",
)
@site_options
@click.pass_obj
def command(output: Output, /, places: Places, medium: Path | None, key: Path, host_key: str, *, ask: bool) -> None:
    """Write down what every host of this site has, by the audit log, and sign it with the host's key.

    With --ask-hosts it also holds what each repo host says itself. A host that gives no receipt, or one that its
    pinned key did not sign, is left out; the exit status says so.
    """
    request = ReceiptRequest(places=places, key=key, medium=medium, ask=ask, host_key=host_key)
    written = write_receipt(request, output.emit)
    refused = {one.host.name: error_value(one.error) for one in written.answers if one.error}
    value = {**asdict(written.receipt), "files": [str(path) for path in written.files], "refused": refused}

    def render() -> None:
        render_receipt(output, written.receipt)
        for path in written.files:
            output.out(f"written to {path}")

    output.show(value, render)
    written.require_all()

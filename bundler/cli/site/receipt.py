"""`bundle-install receipt`: what this site has, signed, for the way home."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.receipt_table import render_receipt
from bundler.cli.site_options import site_options
from bundler.deploy.places import Places
from bundler.deploy.receipts import HOST_KEY
from bundler.workflows.site.receipt import ReceiptRequest, write_receipt


@click.command("receipt", epilog=epilog("bundle-install receipt", "bundle-install receipt --to /media/stick"))
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
@site_options
@click.pass_obj
def command(output: Output, places: Places, medium: Path | None, key: Path) -> None:
    """Write down what every host of this site has, by the audit log, and sign it with the host's key."""
    receipt, paths = write_receipt(ReceiptRequest(places=places, key=key, medium=medium))
    value = {**asdict(receipt), "files": [str(path) for path in paths]}

    def render() -> None:
        render_receipt(output, receipt)
        for path in paths:
            output.out(f"written to {path}")

    output.show(value, render)

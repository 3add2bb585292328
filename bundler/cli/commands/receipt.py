"""`bundle-build receipt`: what came home from a site."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.receipt_table import render_receipt
from bundler.workflows.receipt import ReceiptCheck, check_receipt

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("receipt")
def command() -> None:
    """Read receipts: which site has what."""


@command.command(
    "check",
    epilog=epilog(
        "bundle-build receipt check stick/receipt-plant-7-20261121T100000Z.json --known-hosts known_hosts",
        "bundle-build receipt check receipt-plant-7-20261121T100000Z.json --allowed-signers sites --json",
    ),
)
@click.argument("file", type=_FILE)
@click.option("--known-hosts", type=_FILE, help="Host keys of deployment hosts, as known_hosts has them.")
@click.option(
    "--allowed-signers", type=_FILE, help='Lines SITE namespaces="receipt@offline" KEYTYPE KEY: one name per site.'
)
@click.pass_obj
def check(output: Output, file: Path, known_hosts: Path | None, allowed_signers: Path | None) -> None:
    """Check the signature of the receipt FILE and show what each host of its site has."""
    checked = check_receipt(ReceiptCheck(receipt=file, known_hosts=known_hosts, allowed_signers=allowed_signers))
    value = {**asdict(checked.receipt), "signer": checked.signer, "signed_by": dict(checked.hosts)}

    def render() -> None:
        output.out(f"{file.name}: signed by {checked.signer}")
        render_receipt(output, checked.receipt)
        for name, whose in checked.hosts.items():
            output.out(
                f"  {name}: signed with the key of {whose}" if whose else f"  {name}: its key is not known here"
            )

    output.show(value, render)

"""`bundle-build sign`: add a signature to a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.signing.development import config_directory, find_development_key
from bundler.workflows.sign import SignRequest, sign


@click.command("sign")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="Private key, or the .pub file of a key that an agent or token holds (default: the development key).",
)
@click.option("--signer", help="Your name as sites know it: 1 to 32 of a-z, 0-9 and -.")
@click.pass_obj
def command(output: Output, bundle: Path, key: Path | None, signer: str | None) -> None:
    """Check the bundle in directory BUNDLE and add SHA256SUMS.<signer>.sig, also later and on another machine."""
    if key is None:
        found = find_development_key(config_directory())
        if found is None or signer not in (None, found.signer):
            raise click.UsageError("give --key: there is no key of that signer here")
        key, signer = found.key, found.signer
    if signer is None:
        raise click.UsageError("give --signer: the name that allowed_signers has for this key")
    signed = sign(SignRequest(bundle=bundle, key=key, signer=signer), output.emit)
    value = {
        "bundle": signed.contents.id,
        "signature": str(signed.path),
        "sha256sums": signed.digest,
        "signer": signed.signer,
        "allowed_signers": signed.allowed_signers_line,
    }

    def render() -> None:
        output.out(f"{signed.contents.id} signed by {signed.signer}: {signed.path}")
        output.out(f"SHA256SUMS is {signed.digest}")
        output.out("Sites trust this signer with the line")
        output.out(f"  {signed.allowed_signers_line}")

    output.show(value, render)

"""`bundle-build verify`: is this bundle what its signers signed?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bundler.bundle.verification import Verified
from bundler.cli.context import Output
from bundler.signing.development import config_directory, find_development_key
from bundler.workflows.verify import VerifyRequest, verify


@click.command("verify")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--allowed-signers",
    type=click.Path(path_type=Path),
    help='Who may sign: lines NAME namespaces="bundle@offline" KEYTYPE KEY.',
)
@click.option("-n", "--threshold", type=click.IntRange(min=1), default=1, show_default=True,
              help="How many different signers must have signed.")  # fmt: skip
@click.option("-r", "--revoked", type=click.Path(path_type=Path), help="Public keys that no longer count.")
@click.option("--deep", is_flag=True, help="Also decode every blob and put every file together.")
@click.pass_obj
def command(output: Output, /, bundle: Path, allowed_signers: Path | None, **options: Any) -> None:
    """Check signatures, digests, structure and proofs of BUNDLE, a directory or an uncompressed .tar of it."""
    signers = allowed_signers or _development_signers()
    if signers is None:
        raise click.UsageError("give --allowed-signers: a bundle cannot vouch for itself")
    verified = verify(VerifyRequest(bundle=bundle, allowed_signers=signers, **options), output.emit)
    output.show(verified_value(verified), lambda: render_verified(output, verified))


def _development_signers() -> Path | None:
    found = find_development_key(config_directory())
    return found.allowed_signers if found else None


def verified_value(verified: Verified) -> dict[str, Any]:
    """Return the outcome as data."""
    contents = verified.contents
    return {
        "bundle": contents.id,
        "sha256sums": verified.digest,
        "signers": list(verified.quorum.signers),
        "uncounted_signatures": list(verified.quorum.uncounted),
        "targets": [target.name for target in contents.targets],
        "files": len(contents.files),
        "volumes": len(contents.volumes),
        "venvs": len(contents.venvs),
        "unproved": [f"{venv.name} on {venv.target}" for venv in contents.venvs if venv.proof.level == "none"],
    }


def render_verified(output: Output, verified: Verified) -> None:
    """Show the outcome to people."""
    value = verified_value(verified)
    signers = ", ".join(verified.quorum.signers)
    single = " (single signer)" if len(verified.quorum.signers) == 1 else ""
    output.out(f"{value['bundle']}: accepted, signed by {signers}{single}")
    for reason in verified.quorum.uncounted:
        output.out(f"  not counted: {reason}")
    output.out(f"  SHA256SUMS is {verified.digest}")
    volumes = f"{value['volumes']} volume{'' if value['volumes'] == 1 else 's'}"
    output.out(f"  {value['files']} files, {volumes}, for {', '.join(value['targets'])}")
    proved = value["venvs"] - len(value["unproved"])
    output.out(f"  {proved} of {value['venvs']} venvs proved")
    for name in value["unproved"]:
        output.out(f"  not proved, as the manifest allows: {name}")

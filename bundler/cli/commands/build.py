"""`bundle-build build`: from a manifest to a signed bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bundler.bundle.layout import parse_volume_size
from bundler.cli.context import Output
from bundler.errors import UsageError
from bundler.store.cas import Store, default_root
from bundler.workflows.build import BuildRequest, BuildResult, Signer, build
from bundler.workflows.lock import LockRequest

EPILOG = """\b
Examples:
  bundle-build build release.yaml --out dist --development-key
  bundle-build build release.yaml --out dist --key ~/.ssh/id_ed25519 --signer alice
  bundle-build build release.yaml --out dist --locked --volume-size fat32
"""


@click.command(name="build", epilog=EPILOG)
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("dist"), show_default=True,
    help="Where the bundle's directory is put.",
)  # fmt: skip
@click.option(
    "--lock-dir", type=click.Path(file_okay=False, path_type=Path), help="The lock (default: beside MANIFEST)."
)
@click.option("--locked", is_flag=True, help="Fail instead of resolving when the lock does not fit the manifest.")
@click.option("--volume-size", default="", help="Largest volume: fat32, dvd, bytes or 700M (default: no limit).")
@click.option(
    "--key", "keys", multiple=True, type=click.Path(path_type=Path),
    help="Sign with this SSH key (private, or public with an agent). Repeat with --signer for several.",
)  # fmt: skip
@click.option("--signer", "names", multiple=True, help="Name of the signer of each --key, in order.")
@click.option(
    "--development-key", is_flag=True, help="Sign with a key made for trying things out; it vouches for nothing."
)
@click.option("--refresh", is_flag=True, help="Make root file systems of targets anew, with today's distro packages.")
@click.option("--workers", type=click.IntRange(1, 64), help="How much runs at once (default: one per processor).")
@click.pass_obj
def command(output: Output, /, manifest: Path, **options: Any) -> None:
    """Lock, fetch, compile, lay out, prove, pack, sign and verify the release of MANIFEST.

    Nothing is done twice: what the store has from an earlier run is used again. Stop it whenever you like; a rerun
    goes on where it was. A bundle is written only if every venv works.
    """
    result = build(_request(output, manifest, options), output.emit)
    output.show(_json(result), lambda: _show(output, result))


def _request(output: Output, manifest: Path, options: dict[str, Any]) -> BuildRequest:
    keys, names = options["keys"], options["names"]
    if len(keys) != len(names):
        raise UsageError(f"{len(keys)} keys but {len(names)} signers", hint="give one --signer for each --key")
    store = Store(output.store_path or default_root())
    request = BuildRequest(
        lock=LockRequest(
            manifest=manifest,
            store=store,
            lock_dir=options["lock_dir"],
            locked=options["locked"],
            refresh=options["refresh"],
        ),
        out=options["out"],
        volume_size=parse_volume_size(options["volume_size"]),
        signers=tuple(Signer(name=name, key=key) for name, key in zip(names, keys, strict=True)),
        development=options["development_key"],
    )
    return replace(request, workers=options["workers"]) if options["workers"] else request


def _json(result: BuildResult) -> dict[str, object]:
    lock = result.locked.lock
    return {
        "bundle": str(result.bundle),
        "name": lock.name,
        "version": lock.version,
        "sequence": lock.sequence,
        "unchanged": result.unchanged,
        "signers": [signer.name for signer in result.signers],
        "trust_root_digest": result.trust,
    }


def _show(output: Output, result: BuildResult) -> None:
    output.out(str(result.bundle))
    for signer in result.signers:
        if signer.allowed_signers is not None:
            output.out(f"check it: sh {result.bundle}/verify.sh {signer.allowed_signers} {result.bundle}")
    if result.trust:
        output.out(
            f"trust it at a site: bundle-install trust init --root-digest {result.trust} {result.bundle.parent}"
        )
    if not result.signers:
        output.out(f"not signed yet: bundle-build sign {result.bundle} --key KEY --signer NAME")

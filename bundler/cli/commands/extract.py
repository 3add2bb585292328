"""`bundle-build extract`: files out of a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.render import human_size
from bundler.workflows.extract import ExtractRequest, extract


@click.command("extract")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.argument("path")
@click.option("--out", default="", metavar="FILE|DIR", help="Where to write (default: below the current directory).")
@click.pass_obj
def command(output: Output, bundle: Path, path: str, out: str) -> None:
    """Write the repo host's file PATH, all files below directory PATH, or all that match a glob, from BUNDLE.

    In a glob * stays inside one part of a path and ** stands for any number of parts; quote it. One file goes to
    --out, or into it where it is a directory; several go below it. Files appear whole or not at all.

    bundle.json is compared with SHA256SUMS, and every blob with its digest. That tells damage, not who made the
    bundle: `bundle-build verify` checks signatures.
    """
    written = extract(ExtractRequest(bundle=bundle, path=path, out=out), output.emit)
    value = {
        "files": [{"path": one.path, "out": str(one.out), "size": one.size, "sha256": one.sha256} for one in written]
    }

    def render() -> None:
        for one in written:
            output.out(f"{one.out} ({human_size(one.size)})")

    output.show(value, render)

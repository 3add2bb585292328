"""`bundle-build cat`: one file of a bundle to stdout."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from bundler.archive.frames import gather
from bundler.cli.context import Output
from bundler.errors import UsageError
from bundler.workflows.extract import OpenedFile, open_file


@click.command("cat")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.argument("path")
@click.pass_obj
def command(output: Output, bundle: Path, path: str) -> None:
    """Write the repo host's file PATH to stdout, straight from the volumes of BUNDLE.

    bundle.json is compared with SHA256SUMS, and every blob with its digest before its first byte is written. That
    tells damage, not who made the bundle: `bundle-build verify` checks signatures. With --json the bytes come as
    base64 in "data".
    """
    if not output.json and sys.stdout.isatty():
        raise UsageError("stdout is a terminal", hint="send it elsewhere: | less, > FILE, or bundle-build extract")
    with open_file(bundle, path) as opened:
        stdout = sys.stdout.buffer
        for piece in _as_json(opened) if output.json else opened.pieces:
            stdout.write(piece)
        stdout.flush()


def _as_json(opened: OpenedFile) -> Iterator[bytes]:
    """Yield one JSON document whose last field holds the bytes, without ever holding them all."""
    entry = opened.entry
    head = {"path": entry.path, "size": entry.size, "sha256": entry.sha256, "mode": f"{entry.mode:04o}"}
    yield json.dumps(head)[:-1].encode() + b', "data": "'
    left = b""
    for piece in gather(opened.pieces):
        whole = left + piece
        even = len(whole) - len(whole) % 3
        yield base64.b64encode(whole[:even])
        left = whole[even:]
    yield base64.b64encode(left) + b'"}\n'

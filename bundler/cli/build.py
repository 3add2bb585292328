"""The command `bundle-build`: the connected half."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import bundler.cli.commands
from bundler.cli.command_files import CommandFiles
from bundler.cli.configuration import configuration
from bundler.cli.context import Output
from bundler.cli.options import prepare
from bundler.cli.shell import run
from bundler.version import own_version

EPILOG = """\b
A first bundle:
  bundle-build manifest sample > release.yaml     write what you want
  bundle-build manifest check release.yaml        every problem, with its line
  bundle-build build release.yaml --out dist      lock, fetch, build, prove, pack, sign
  bundle-build verify dist/*                      the far side's verdict, here
"""


HEADINGS = {
    "Write a manifest": ("manifest", "adopt", "constraints"),
    "Make a bundle": ("lock", "build", "review", "sign"),
    "Say who may sign": ("trust",),
    "Look at a bundle": ("verify", "inspect", "page", "diff", "cat", "extract", "receipt"),
    "This program": ("config", "store", "completion"),
}


@click.group(
    cls=CommandFiles,
    package=bundler.cli.commands,
    headings=HEADINGS,
    program="bundle-build",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(own_version(), prog_name="bundle-build")
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    help="Content-addressed store, shared between runs (default: in the user's cache directory).",
)
@click.pass_obj
def group(output: Output, store: Path | None) -> None:
    """Turn a manifest of Python services into a signed bundle for sites without a network."""
    output.store_path = store


prepare(group)


def main() -> None:
    """Run `bundle-build` and leave with its exit status."""
    sys.exit(run(group, "bundle-build", configuration))

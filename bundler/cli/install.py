"""The command `bundle-install`: the air-gapped half."""

from __future__ import annotations

import sys

import click

from bundler.cli.commands.verify import make_command
from bundler.cli.options import prepare
from bundler.cli.shell import run
from bundler.version import own_version

EPILOG = """\b
First, check this program itself with stock tools: README.txt beside it says how.
  bundle-install verify --allowed-signers FILE DIR     is the bundle what its signers signed?
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(own_version(), prog_name="bundle-install")
def group() -> None:
    """Check a bundle at a site without a network."""


group.add_command(make_command(lambda: None))
prepare(group, program="bundle-install")


def main() -> None:
    """Run `bundle-install` and leave with its exit status."""
    sys.exit(run(group, "bundle-install"))

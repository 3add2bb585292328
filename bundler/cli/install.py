"""The command `bundle-install`: the air-gapped half."""

from __future__ import annotations

import sys

import click

import bundler.cli.site
from bundler.cli.command_files import CommandFiles
from bundler.cli.options import prepare
from bundler.cli.shell import run
from bundler.version import own_version

EPILOG = """\b
First, check this program itself with stock tools: README.txt beside it says how. Then:
  bundle-install trust init --root-digest DIGEST /media/stick     once: who may sign
  bundle-install site check                                       once: the hosts of this site
  bundle-install plan /media/stick                                what would change, host by host
  bundle-install apply /media/stick                               on every repo host, or on none
"""

HEADINGS = {
    "Set up a site": ("trust", "site", "osa-vars"),
    "Bring a release": ("verify", "plan", "apply"),
    "Look after it": ("status", "check", "repair", "rollback", "prune", "why"),
    "Serve it": ("serve", "nginx-config"),
    "Virtual environments": ("venv", "unpack"),
    "Answer for it": ("evidence", "receipt"),
}


@click.group(
    cls=CommandFiles,
    package=bundler.cli.site,
    headings=HEADINGS,
    program="bundle-install",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(own_version(), prog_name="bundle-install")
def group() -> None:
    """Bring a release to a site without a network: check it, push it to repo hosts, keep it right."""


prepare(group, program="bundle-install")


def main() -> None:
    """Run `bundle-install` and leave with its exit status."""
    sys.exit(run(group, "bundle-install"))

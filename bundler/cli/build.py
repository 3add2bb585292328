"""The command `bundle-build`: the connected half."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import click

import bundler.cli.commands
from bundler.cli.configuration import configuration
from bundler.cli.context import Output
from bundler.cli.options import prepare
from bundler.cli.sections import SectionedGroup
from bundler.cli.shell import run
from bundler.version import own_version

EPILOG = """\b
A first bundle:
  bundle-build manifest sample > release.yaml     write what you want
  bundle-build manifest check release.yaml        every problem, with its line
  bundle-build build release.yaml --out dist      lock, fetch, build, prove, pack, sign
  bundle-build verify dist/*                      the far side's verdict, here
"""


class CommandFiles(SectionedGroup):
    """Find commands by file; only the one that runs is imported."""

    sections: ClassVar[Mapping[str, Sequence[str]]] = {
        "Write a manifest": ("manifest", "adopt", "constraints"),
        "Make a bundle": ("lock", "build", "review", "sign"),
        "Look at a bundle": ("verify", "inspect", "diff", "cat", "extract"),
        "This program": ("config", "store", "completion"),
    }

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names of the files below :mod:`bundler.cli.commands`."""
        return sorted(info.name for info in pkgutil.iter_modules(bundler.cli.commands.__path__))

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import the command called ``name``."""
        if name not in self.list_commands(_context):
            return None
        command: click.Command = importlib.import_module(f"bundler.cli.commands.{name}").command
        return prepare(command, (name,))


@click.group(
    cls=CommandFiles,
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

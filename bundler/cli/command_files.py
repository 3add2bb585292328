"""Groups that find their commands by file: one module per command, and only the one that runs is imported."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import click

from bundler.cli.options import prepare
from bundler.cli.sections import SectionedGroup


class CommandFiles(SectionedGroup):
    """Take the object ``command`` of each module of ``package``; the help lists them by ``headings``."""

    def __init__(
        self,
        *arguments: Any,
        package: ModuleType,
        headings: Mapping[str, Sequence[str]],
        program: str,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.package = package
        self.headings = headings
        self.program = program

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names of the package's modules; an underscore in a file's name is a dash in the command's."""
        return sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(self.package.__path__))

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import the command called ``name``."""
        if name not in self.list_commands(_context):
            return None
        module = importlib.import_module(f"{self.package.__name__}.{name.replace('-', '_')}")
        command: click.Command = module.command
        return prepare(command, (name,), self.program)

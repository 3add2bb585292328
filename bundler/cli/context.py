"""What every command gets: where events go, how results are shown, which store is used."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from bundler.events import Emit, ignore

#: Wide enough for any table: what is read by a program is never cut.
_UNLIMITED = 10_000


class _Console(Console):
    """A console that leaves a broken pipe to the caller instead of ending the process."""

    def on_broken_pipe(self) -> None:
        """Let the error out."""
        raise BrokenPipeError


def make_console(stream: TextIO) -> Console:
    """Return a console on ``stream``; rich honours NO_COLOR and TERM=dumb, and colours nothing but terminals."""
    width = None if stream.isatty() else _UNLIMITED
    return _Console(file=stream, width=width, highlight=False, soft_wrap=True, emoji=False)


def _nothing() -> None:
    """Do nothing before the result."""


@dataclass(kw_only=True)
class Output:
    """Results go to stdout, as text for people or as JSON; ``before_result`` ends what is drawn on stderr."""

    json: bool = False
    quiet: bool = False
    emit: Emit = field(default=ignore)
    before_result: Callable[[], None] = field(default=_nothing)
    store_path: Path | None = None
    console: Console = field(default_factory=lambda: make_console(sys.stdout))

    def out(self, text: str) -> None:
        """Write a line of the result, without markup."""
        self.before_result()
        self.console.print(text, markup=False)

    def data(self, value: Any) -> None:
        """Write the result as one JSON document."""
        self.before_result()
        sys.stdout.write(json.dumps(value, indent=2, sort_keys=True) + "\n")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table; columns whose name starts with ``#`` are numbers, aligned right."""
        self.before_result()
        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.lstrip("#"), justify="right" if column.startswith("#") else "left", no_wrap=False)
        for row in rows:
            table.add_row(*(cell.replace("[", "\\[") for cell in row))
        self.console.print(table)

    def show(self, value: Any, render: Callable[[], None]) -> None:
        """Show ``value`` as JSON where that was asked for, else call ``render``."""
        if self.json:
            self.data(value)
        else:
            render()

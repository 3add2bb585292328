"""Ask the person at the terminal for the next stick of a bundle."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bundler.bundle.sticks import Ask, find_bundle
from bundler.cli.context import Output
from bundler.errors import UsageError
from bundler.events import Noted


def next_medium(output: Output) -> Ask | None:
    """Return what asks for the next medium, or None where nobody sits: then what is missing is an error."""
    if output.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(missing: tuple[str, ...]) -> Path | None:
        what = "1 file is" if len(missing) == 1 else f"{len(missing)} files are"
        output.emit(Noted(message=f"{what} on another medium: {', '.join(missing)}", prompt=True))
        while text := click.prompt("Where is the next one (empty: stop)", default="", show_default=False, err=True):
            wrong = _what_is_wrong(Path(text))
            if not wrong:
                return Path(text)
            output.emit(Noted(message=wrong, prompt=True))
        return None

    return ask


def _what_is_wrong(path: Path) -> str:
    try:
        find_bundle(path)
    except UsageError as error:
        return error.message
    return ""

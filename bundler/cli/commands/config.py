"""`bundle-build config`: the effective configuration, and where each value comes from."""

from __future__ import annotations

from dataclasses import asdict

import click

from bundler.cli.configuration import Setting, effective
from bundler.cli.context import Output
from bundler.cli.options import configuration_file


@click.command("config")
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.option("--changed", is_flag=True, help="Only what is not at its default.")
@click.pass_context
def command(context: click.Context, /, words: tuple[str, ...], changed: bool) -> None:
    """Show the effective configuration, of one COMMAND or of all, with the origin of each value.

    Options win over the environment, the environment over the configuration file, that over the default. The file
    maps commands to options (build: {out: /srv/bundles}); its place is shown, BUNDLE_CONFIG names another.
    """
    output: Output = context.obj
    root = context.find_root()
    path = configuration_file(root.info_name or "")
    found = [one for one in effective(root) if _wanted(one, words, changed=changed)]
    if words and not found and not changed:
        raise click.UsageError(f"there is no command {' '.join(words)}")
    value = {"file": str(path), "exists": path.is_file(), "settings": [asdict(one) for one in found]}
    output.show(value, lambda: _render(output, found, f"{path}{'' if path.is_file() else ' (not there)'}"))


def _wanted(one: Setting, words: tuple[str, ...], *, changed: bool) -> bool:
    own = tuple(one.command.split()[: len(words)]) == words
    return own and not (changed and one.origin == "default")


def _render(output: Output, found: list[Setting], file: str) -> None:
    output.out(f"file: {file}")
    rows = [[one.command, one.option, _text(one.value), one.origin, one.variable] for one in found]
    if rows:
        output.table("", ["command", "option", "value", "origin", "variable"], rows)
    else:
        output.out("Everything is at its default.")


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(str(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)

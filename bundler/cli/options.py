"""Options that every command has, and the environment variable of each option: BUNDLE_<COMMAND>_<OPTION>."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from bundler.cli.context import Output
from bundler.cli.examples import examples

PREFIX = "BUNDLE"


class CommonOption(click.Option):
    """``--json`` or ``--quiet``: set on the run's :class:`Output` instead of being passed to the command."""


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.ensure_object(Output), name, value)

    return callback


def _common_options() -> list[click.Option]:
    return [
        CommonOption(
            ["--json"], is_flag=True, expose_value=False, is_eager=True, callback=_set("json"),
            help="Result as JSON on stdout, events as JSON lines on stderr.",
        ),
        CommonOption(
            ["-q", "--quiet"], is_flag=True, expose_value=False, is_eager=True, callback=_set("quiet"),
            help="Only warnings, errors and the result.",
        ),
    ]  # fmt: skip


def prepare(command: click.Command, path: tuple[str, ...] = (), program: str = "bundle-build") -> click.Command:
    """Give ``command`` and its subcommands the common options, environment variables and examples; return it.

    ``path`` is the command's words after the name of ``program``.
    """
    taken = {option for parameter in command.params for option in parameter.opts}
    command.params += [option for option in _common_options() if not taken & set(option.opts)]
    for option in settings(command):
        option.envvar = option.envvar or environment_name(path, option)
    command.epilog = command.epilog or examples(path, program)
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            prepare(child, (*path, name), program)
    return command


def settings(command: click.Command) -> Iterator[click.Option]:
    """Yield the options of ``command`` that the environment and the configuration file can set."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and (parameter.expose_value or isinstance(parameter, CommonOption)):
            yield parameter


def option_name(option: click.Option) -> str:
    """Return the name that people know: the longest spelling, without its dashes."""
    return max(option.opts, key=len).lstrip("-")


def environment_name(path: tuple[str, ...], option: click.Option) -> str:
    """Return the variable that sets ``option`` of the command at ``path``, e.g. BUNDLE_MANIFEST_EXPLAIN_TARGET."""
    return "_".join((PREFIX, *path, option_name(option))).upper().replace("-", "_")


def configuration_file(program: str) -> Path:
    """Return where the configuration of ``program`` is looked for, whether it is there or not."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(os.environ.get(f"{PREFIX}_CONFIG") or Path(base) / program / "config.yaml")


def walk(
    command: click.Command, context: click.Context, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    """Yield ``command`` and all below it, each with its words after the program's name and its context."""
    yield path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                below = click.Context(child, info_name=name, parent=context)
                yield from walk(child, below, (*path, name))

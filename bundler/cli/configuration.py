"""What the user set once and for all: the configuration file, and where each effective value comes from.

The file maps options of the program, and commands, to values: ``{store: /srv/store, build: {out: /srv/bundles}}``.
Options win over the environment (``BUNDLE_<COMMAND>_<OPTION>``), that over the file, that over the default.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml
from click.core import ParameterSource

from bundler.cli.options import PREFIX, configuration_file, environment_name, option_name, settings, walk
from bundler.errors import Problem, UsageError

_ORIGINS = {ParameterSource.ENVIRONMENT: "environment", ParameterSource.DEFAULT_MAP: "file"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One option of one command: its effective value and its origin (default, file or environment)."""

    command: str
    option: str
    value: Any
    origin: str
    variable: str


def configuration(program: str, group: click.Group) -> dict[str, Any]:
    """Return the defaults of the configuration file, by parameter, as click wants them.

    Raises:
        UsageError: The file is no YAML mapping, or names what does not exist; ``problems`` lists all of it.
    """
    path = configuration_file(program)
    found = _read(path)
    problems: list[Problem] = []
    defaults = _defaults(group, click.Context(group, info_name=program), found, str(path), problems)
    if len(problems) == 1:
        raise UsageError(f"{problems[0].where}: {problems[0].what}", hint=problems[0].hint)
    if problems:
        raise UsageError(f"{path}: {len(problems)} problems", problems=problems)
    return defaults


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        if os.environ.get(f"{PREFIX}_CONFIG"):
            raise UsageError(f"{path}: there is no such file", hint=f"it is named by {PREFIX}_CONFIG")
        return {}
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML: {error}") from error
    if not isinstance(found, dict | None):
        raise UsageError(f"{path}: must map commands to their options", hint="e.g. build: {out: /srv/bundles}")
    return found or {}


def _defaults(
    command: click.Command, context: click.Context, found: Mapping[Any, Any], where: str, problems: list[Problem]
) -> dict[str, Any]:
    """Translate one mapping of the file: options under their long name, commands as mappings."""
    options = {option_name(option): option for option in settings(command)}
    children = command.list_commands(context) if isinstance(command, click.Group) else []
    taken: dict[str, Any] = {}
    for key, value in found.items():
        name = str(key).replace("_", "-")
        place = f"{where}: {key}"
        if name in options and options[name].name is not None:
            taken[str(options[name].name)] = _value(options[name], context, value, place, problems)
        elif name in children and isinstance(command, click.Group):
            child = command.get_command(context, name)
            if child is None or not isinstance(value, dict):
                problems.append(Problem(where=place, what="must map the command's options to values"))
                continue
            below = click.Context(child, info_name=name, parent=context)
            taken[name] = _defaults(child, below, value, place, problems)
        else:
            known = [*options, *children]
            problems.append(Problem(where=place, what="unknown key", hint=_nearest(name, known)))
    return taken


def _value(option: click.Option, context: click.Context, value: Any, place: str, problems: list[Problem]) -> Any:
    if option.multiple and not isinstance(value, list):
        value = [value]
    if isinstance(option.type, click.Path):
        return [_expand(one) for one in value] if option.multiple else _expand(value)
    if value is None or isinstance(value, dict) or (isinstance(value, list) and not option.multiple):
        problems.append(Problem(where=place, what="must be a single value"))
        return None
    try:
        option.type_cast_value(context, value)
    except click.BadParameter as error:
        problems.append(Problem(where=place, what=error.message.rstrip(".")))
    return value


def _expand(value: Any) -> str:
    return os.path.expanduser(str(value))  # noqa: PTH111  # a Path would drop a trailing slash


def _nearest(name: str, known: Iterable[str]) -> str:
    valid = sorted(known)
    close = difflib.get_close_matches(name, valid, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(valid)}"


def effective(root: click.Context) -> Iterator[Setting]:
    """Yield every option of every command with its effective value; ``root`` is the program's context."""
    for path, command, context in walk(root.command, root):
        for option in settings(command):
            value, source = option.consume_value(context, {})
            origin = _ORIGINS.get(source, "default")
            default = origin == "default"
            yield Setting(
                command=" ".join(path),
                option=option_name(option),
                value=_plain(option.to_info_dict()["default"] if default else option.type_cast_value(context, value)),
                origin=origin,
                variable=environment_name(path, option),
            )


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)

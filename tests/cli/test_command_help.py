"""Help that teaches, and options that every command has."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest

from bundler.cli.build import group
from bundler.cli.install import group as install
from bundler.cli.options import environment_name, settings, walk

if TYPE_CHECKING:
    from tests.cli.conftest import User

COMMANDS = list(walk(group, click.Context(group, info_name="bundle-build")))
LEAVES = [one for one in COMMANDS if not isinstance(one[1], click.Group)]
_NAMES = [" ".join(path) for path, _, _ in LEAVES]


@pytest.mark.parametrize(("path", "command", "context"), LEAVES, ids=_NAMES)
def test_every_command_takes_json_and_quiet(
    path: tuple[str, ...], command: click.Command, context: click.Context
) -> None:
    """Each command names --json and -q in its help."""
    text = command.get_help(context)

    assert "--json" in text
    assert "-q, --quiet" in text


@pytest.mark.parametrize(("path", "command", "context"), LEAVES, ids=_NAMES)
def test_every_command_ends_its_help_with_examples(
    path: tuple[str, ...], command: click.Command, context: click.Context
) -> None:
    """Each command shows examples of itself, and their options exist."""
    lines = [line.strip() for line in (command.epilog or "").splitlines() if "bundle-build" in line]
    known = {option for parameter in command.params for option in parameter.opts}

    assert lines, f"no examples for {' '.join(path)}: bundler/cli/examples.py"
    for line in lines:
        words = shlex.split(line[line.index("bundle-build") :])
        assert tuple(words[1 : len(path) + 1]) == path
        assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize(("path", "command", "context"), LEAVES, ids=_NAMES)
def test_every_option_is_explained(path: tuple[str, ...], command: click.Command, context: click.Context) -> None:
    """Each option says what it does, and each command what it is for."""
    assert command.help
    for option in settings(command):
        assert option.help, f"{' '.join(path)} {option.opts}"


def test_no_two_options_share_an_environment_variable() -> None:
    """BUNDLE_<COMMAND>_<OPTION> means one option only."""
    names = [environment_name(path, option) for path, command, _ in COMMANDS for option in settings(command)]

    assert len(names) == len(set(names))


def test_the_overview_lists_every_command_in_a_section() -> None:
    """No command falls out of the sections of the overview, and no section names one that is not there."""
    context = click.Context(group, info_name="bundle-build")
    text = group.get_help(context)

    assert "More:" not in text
    for name in group.list_commands(context):
        assert re.search(rf"^  {name} ", text, re.MULTILINE), name


def test_the_installer_has_the_common_options() -> None:
    """bundle-install verify takes --json and --quiet too."""
    command = install.get_command(click.Context(install), "verify")
    assert command is not None

    assert {"--json", "--quiet"} <= {option for parameter in command.params for option in parameter.opts}


def test_a_wrong_command_is_answered_with_the_nearest(user: User) -> None:
    """A typo gets the right word and exit code 2, without a traceback."""
    done = user.run("inspct", "x", status=2)

    assert "'inspect'" in done.stderr


def test_a_wrong_option_is_answered_in_json_where_json_was_asked_for(user: User) -> None:
    """Even a wrong command line gives one JSON line on stderr and nothing on stdout."""
    done = user.run("manifest", "check", "tiny.yaml", "--jsn", "--json", status=2)

    assert done.stdout == ""
    assert '"error": "UsageError"' in done.stderr
    assert "--json" in done.stderr


def test_without_a_command_the_help_is_shown(user: User) -> None:
    """bundle-build alone teaches, and fails as a usage error."""
    done = user.run(status=2)

    assert "A first bundle:" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_a_completion_script_calls_this_program(user: User, shell: str) -> None:
    """The script of each shell names the program and its variable."""
    done = user.run("completion", shell)

    assert "_BUNDLE_BUILD_COMPLETE" in done.stdout
    assert "bundle-build" in done.stdout


def test_completion_answers_with_commands(user: User) -> None:
    """What the script asks for is answered, even while the configuration file is broken."""
    user.configure("nonsense: 1\n")
    asked = {"_BUNDLE_BUILD_COMPLETE": "bash_complete", "COMP_WORDS": "bundle-build ins", "COMP_CWORD": "1"}

    done = user.run(env=asked)

    assert done.stdout.split() == ["plain,inspect"]

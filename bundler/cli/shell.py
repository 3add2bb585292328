"""What both command lines share: common options, configuration, and how a run ends."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click
import yaml

from bundler.cli.context import Output
from bundler.cli.render import rendering, show_error
from bundler.errors import BundlerError, InterruptedByUser, SpaceError, StoreError, UsageError
from bundler.process import end_children


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.ensure_object(Output), name, value)

    return callback


def _common_options() -> list[click.Option]:
    return [
        click.Option(
            ["--json"], is_flag=True, expose_value=False, is_eager=True, callback=_set("json"),
            help="Result as JSON on stdout, events as JSON lines on stderr.",
        ),
        click.Option(
            ["-q", "--quiet"], is_flag=True, expose_value=False, is_eager=True, callback=_set("quiet"),
            help="Only warnings, errors and the result.",
        ),
    ]  # fmt: skip


def add_common_options(command: click.Command) -> None:
    """Give ``command`` and its subcommands the options that every command has."""
    if isinstance(command, click.Group):
        for child in command.commands.values():
            add_common_options(child)
        return
    taken = {option for parameter in command.params for option in parameter.opts}
    command.params += [option for option in _common_options() if not taken & set(option.opts)]


def configuration(program: str) -> dict[str, Any]:
    """Return the defaults that the user set for ``program``: ``<config>/<program>/config.yaml``.

    The file maps command to option to value; options win over environment (``BUNDLE_…``), that over the file.

    Raises:
        UsageError: The file is not a YAML mapping.
    """
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    path = Path(os.environ.get("BUNDLE_CONFIG") or Path(base) / program / "config.yaml")
    if not path.is_file():
        return {}
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path}: must map commands to their options", hint="e.g. build: {out: /srv/bundles}")
    return found


def run(group: click.Group, program: str) -> int:
    """Run the command line and return its exit status; errors become one message, never a traceback."""
    arguments = sys.argv[1:]
    as_json = "--json" in arguments
    quiet = as_json or "--quiet" in arguments or "-q" in arguments
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        return _run(group, program, Output(json=as_json, quiet=quiet))
    except click.ClickException as error:
        error.show(sys.stderr)
        return error.exit_code
    except BundlerError as error:
        return _fail(error, as_json=as_json)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        return _fail(_translate(error), as_json=as_json)


def _run(group: click.Group, program: str, output: Output) -> int:
    with rendering(sys.stderr, as_json=output.json, quiet=output.quiet) as emit:
        output.emit = emit
        status = group.main(
            prog_name=program,
            standalone_mode=False,
            obj=output,
            default_map=configuration(program),
            auto_envvar_prefix="BUNDLE",
        )
    return status if isinstance(status, int) else 0


def _stop(number: int, _frame: FrameType | None) -> None:
    """End on a signal at once: every write is atomic, so there is nothing to unwind but our children."""
    end_children()
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h\n")
    stopped = InterruptedByUser("stopped; a rerun goes on where it was")
    show_error(stopped, sys.stderr, as_json="--json" in sys.argv)
    sys.stderr.flush()
    os._exit(stopped.exit_code if number == signal.SIGINT else 128 + number)


def _translate(error: OSError) -> BundlerError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpaceError(
            f"no space left while writing {error.filename or 'a file'}",
            hint="free some, or point --store and --out elsewhere; a rerun goes on where it was",
        )
    return StoreError(f"{error.filename or 'input/output'}: {error.strerror or error}")


def _fail(error: BundlerError, *, as_json: bool) -> int:
    show_error(error, sys.stderr, as_json=as_json)
    return error.exit_code

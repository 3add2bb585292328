"""How a run of either command line begins and ends: configuration, errors, signals, exit status."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeAlias

import click
from click.core import ParameterSource
from click.shell_completion import shell_complete

from bundler.cli.context import Output
from bundler.cli.options import configuration_file, environment_name, option_name
from bundler.cli.render import Rendering, show_error
from bundler.errors import BundlerError, InterruptedByUser, SpaceError, StoreError, UsageError
from bundler.process import end_children

_STDERR = 2
#: Reads the defaults of a program from its configuration file.
Defaults: TypeAlias = Callable[[str, click.Group], dict[str, Any]]


def no_defaults(_program: str, _group: click.Group) -> dict[str, Any]:
    """Read no configuration file."""
    return {}


def run(group: click.Group, program: str, defaults: Defaults = no_defaults) -> int:
    """Run the command line and return its exit status; errors become one message, never a traceback."""
    _open_closed_streams()
    # Flags that may stand anywhere are looked for at once, so that even a wrong command line is answered in JSON.
    given = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    as_json = "--json" in given
    output = Output(json=as_json, quiet=as_json or "--quiet" in given or "-q" in given)
    _stop_on_signals(output)
    try:
        status = _run(group, program, output, defaults)
        sys.stdout.flush()
    except BrokenPipeError as error:
        return _fail(_translate(error), output) if not _reader_left() else 0
    except OSError as error:
        return _fail(_translate(error), output)
    except BundlerError as error:
        return _fail(error, output)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show(sys.stderr)
        return error.exit_code
    except click.ClickException as error:
        return _fail(_usage(error, program), output)
    return status


def _open_closed_streams() -> None:
    """Give `>&-` what `>/dev/null` has: else the next file that is opened would be taken for stdout or stderr."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w", closefd=False)


def _run(group: click.Group, program: str, output: Output, defaults: Defaults) -> int:
    variable = f"_{program}_COMPLETE".replace("-", "_").upper()
    if variable in os.environ:
        return shell_complete(group, {}, program, variable, os.environ[variable])
    # Not group.main(): that turns every broken pipe, also one of ours to a child, into a silent failure.
    with Rendering(sys.stderr, output):
        found = defaults(program, group)
        try:
            with group.make_context(program, sys.argv[1:], obj=output, default_map=found) as context:
                group.invoke(context)
        except click.exceptions.Exit as leaving:
            return leaving.exit_code
    return 0


def _fail(error: BundlerError, output: Output) -> int:
    try:
        show_error(error, sys.stderr, as_json=output.json)
    except BrokenPipeError:
        _reader_left()
    return error.exit_code


def _usage(error: click.ClickException, program: str) -> UsageError:
    """Translate what click found wrong; a wrong value says where it was set if that was not the command line."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else program
    hint = f"{command} --help explains the options"
    option = getattr(error, "param", None)
    if isinstance(option, click.Option) and context is not None:
        source = context.get_parameter_source(option.name or "")
        if source is ParameterSource.ENVIRONMENT:
            hint = f"the environment sets it: {environment_name(tuple(command.split()[1:]), option)}"
        elif source is ParameterSource.DEFAULT_MAP:
            hint = f"{configuration_file(program)} sets it: {option_name(option)}"
    return UsageError(error.format_message(), hint=hint)


def _translate(error: OSError) -> BundlerError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpaceError(
            f"no space left while writing {error.filename or 'a file'}",
            hint="free some, or point --store and --out elsewhere; a rerun goes on where it was",
        )
    return StoreError(f"{error.filename or 'input/output'}: {error.strerror or error}")


def _reader_left() -> bool:
    """Return whether who reads our output (`| head`) has gone; nothing more is said to it then."""
    poll = select.poll()
    for number in (1, _STDERR):
        poll.register(number, 0)
    gone = [number for number, events in poll.poll(0) if events & (select.POLLERR | select.POLLHUP)]
    null = os.open(os.devnull, os.O_WRONLY)
    for number in gone:
        os.dup2(null, number)
    os.close(null)
    return bool(gone)


def _stop_on_signals(output: Output) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A shell's background job and nohup ignore some on purpose.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _Stop(output))


class _Stop:
    """End on a signal at once: every write is atomic, so there is nothing to unwind but our children."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Say so in one line, past all buffers (this may have interrupted a write), and leave whatever happens."""
        try:
            end_children()
            self._say(number)
        finally:
            os._exit(128 + number)

    def _say(self, number: int) -> None:
        text = io.StringIO()
        stopped = InterruptedByUser("stopped; a rerun goes on where it was")
        stopped.exit_code = 128 + number
        show_error(stopped, text, as_json=self._output.json)
        show_cursor = b"\x1b[?25h\n" if os.isatty(_STDERR) else b""
        # The terminal may be gone.
        with contextlib.suppress(OSError):
            os.write(_STDERR, show_cursor + text.getvalue().encode())

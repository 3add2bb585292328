"""Show events on stderr: progress bars on a terminal, plain lines elsewhere, JSON lines on request."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from typing import Protocol, TextIO

from rich.console import Console
from rich.text import Text

from bundler.cli.bars import BarRenderer, message_line
from bundler.cli.context import Output, make_console
from bundler.cli.stages import Summary, human_size, stage_line, title
from bundler.clock import stopwatch
from bundler.errors import BundlerError
from bundler.events import Event, ItemFinished, ItemStarted, Noted, StageFinished, StageStarted, Warned

__all__ = ["JsonRenderer", "LineRenderer", "Rendering", "human_size", "show_error"]

#: A log that nobody writes to looks stuck: a running stage gives a line at least this often (seconds).
_HEARTBEAT = 30.0
_NAMED = 3


class Renderer(Protocol):
    """Shows events; any thread may call."""

    def __call__(self, event: Event) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class LineRenderer:
    """One plain line when a stage ends, and now and then while it runs: for logs and pipes."""

    def __init__(self, console: Console, *, quiet: bool = False, clock: Callable[[], float] = stopwatch) -> None:
        self.console = console
        self.quiet = quiet
        self._clock = clock
        self._last = clock()
        self._running: list[str] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        """Do nothing: lines need no preparation."""

    def stop(self) -> None:
        """Do nothing: lines need no end."""

    def __call__(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            if isinstance(event, Warned) or (isinstance(event, Noted) and not self.quiet):
                self._print(message_line(event))
            elif not self.quiet:
                self._show(event)

    def _show(self, event: Event) -> None:
        if isinstance(event, StageFinished):
            self._print(Text(stage_line(event)))
        elif isinstance(event, ItemStarted):
            self._running.append(event.item)
        elif isinstance(event, ItemFinished) and event.item in self._running:
            self._running.remove(event.item)
        if not isinstance(event, (Noted, Warned, StageStarted)) and self._clock() - self._last > _HEARTBEAT:
            names = f": {' '.join(self._running[:_NAMED])}" if self._running else ""
            self._print(Text(f"{title(event.stage)} goes on{names}"))

    def _print(self, text: Text) -> None:
        self._last = self._clock()
        self.console.print(text)


class JsonRenderer:
    """One JSON object per line and event."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._lock = threading.Lock()

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""

    def __call__(self, event: Event) -> None:
        """Write one event."""
        with self._lock:
            write_json(self.stream, {"event": type(event).__name__, **dataclasses.asdict(event)})


def write_json(stream: TextIO, value: object) -> None:
    """Write ``value`` as one line."""
    stream.write(json.dumps(value, sort_keys=True) + "\n")
    stream.flush()


class Rendering:
    """The observer of one run: chooses how to show events when the first one comes, and ends with the summary.

    By then the command line is parsed, so that ``--json`` counts wherever it came from.
    """

    def __init__(self, stream: TextIO, output: Output) -> None:
        self._stream = stream
        self._output = output
        self._console = make_console(stream)
        self._renderer: Renderer | None = None
        self._totals = Summary()
        self._warned: set[tuple[str, str]] = set()
        self._began = stopwatch()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._output.emit = self
        self._output.before_result = self.finish

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self._stop()

    def __call__(self, event: Event) -> None:
        """Show one event; a warning only once. Any thread may call."""
        if isinstance(event, Noted) and event.prompt and not self._output.json:
            # The terminal belongs to somebody else now; the next event begins to draw anew.
            self._stop()
            self._console.print(message_line(event))
            return
        with self._lock:
            if isinstance(event, Warned):
                if (event.message, event.hint) in self._warned:
                    return
                self._warned.add((event.message, event.hint))
            if isinstance(event, StageFinished):
                self._totals.add(event)
            if self._renderer is None:
                self._renderer = self._choose()
                self._renderer.start()
            renderer = self._renderer
        renderer(event)

    def finish(self) -> None:
        """End the bars and print the summary of a run of several stages, before the result is shown."""
        self._stop()
        with self._lock:
            totals, self._totals = self._totals, Summary()
        if not (self._output.json or self._output.quiet) and len(totals.stages) > 1:
            self._console.print(totals.table(stopwatch() - self._began))

    def _stop(self) -> None:
        with self._lock:
            renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.stop()

    def _choose(self) -> Renderer:
        if self._output.json:
            return JsonRenderer(self._stream)
        if self._output.quiet or not self._stream.isatty() or self._console.is_dumb_terminal:
            return LineRenderer(self._console, quiet=self._output.quiet)
        return BarRenderer(self._console)


def show_error(error: BundlerError, stream: TextIO, *, as_json: bool) -> None:
    """Write one error: message, every problem, what a program said last, hint."""
    output = getattr(error, "output", "")
    if as_json:
        document = {
            "event": "Failed",
            "error": error.rule,
            "exit_code": error.exit_code,
            "message": error.message,
            "hint": error.hint,
            "problems": [dataclasses.asdict(problem) for problem in error.problems],
            **({"output": output} if output else {}),
        }
        write_json(stream, document)
        return
    console = make_console(stream)
    console.print(Text.assemble(("error: ", "bold red"), error.message))
    for problem in error.problems:
        if len(error.problems) > 1 or problem.what not in error.message:
            console.print(Text(f"  {problem}"))
    for line in output.splitlines()[-20:]:
        console.print(Text(f"  | {line}"))
    if error.hint:
        console.print(Text.assemble(("hint: ", "bold"), error.hint))

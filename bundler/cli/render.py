"""Show events: progress bars on a terminal, plain lines elsewhere, JSON lines on request. Always on stderr."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from bundler.errors import BundlerError
from bundler.events import (
    Emit,
    Event,
    ItemFinished,
    ItemStarted,
    Noted,
    StageAdvanced,
    StageFinished,
    StageStarted,
    Warned,
)

#: What people read for a stage's name.
TITLES = {
    "resolve": "Resolve",
    "fetch": "Fetch",
    "git": "Git sources",
    "build": "Build wheels",
    "check": "Check wheels",
    "layers": "Make layers",
    "archives": "Venv archives",
    "proof": "Prove venvs",
    "attest": "SBOM, provenance",
    "installer": "Installer",
    "pack": "Pack",
    "sign": "Sign",
    "verify": "Verify",
}


def human_size(size: float) -> str:
    """Return ``size`` bytes as people read it: 12.3 MB (decimal units)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004  # decimal units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


class _Amount(ProgressColumn):
    """Bytes with speed, or a count, after the task's unit."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = DownloadColumn()
        self._speed = TransferSpeedColumn()
        self._items = MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        if task.fields["unit"] == "bytes":
            return Text.assemble(self._bytes.render(task), "  ", self._speed.render(task))
        return self._items.render(task)


class Summary:
    """The figures of finished stages, for the table at the end."""

    def __init__(self) -> None:
        self.stages: dict[str, StageFinished] = {}

    def add(self, event: StageFinished) -> None:
        """Take the figures of a stage; a stage that ran twice adds up."""
        old = self.stages.get(event.stage)
        if old is not None:
            event = dataclasses.replace(
                event,
                seconds=old.seconds + event.seconds,
                items=max(old.items, event.items),
                reused=max(old.reused, event.reused),
                size=max(old.size, event.size),
            )
        self.stages[event.stage] = event

    def table(self) -> Table:
        """Return time, items and size per stage."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, justify in (("stage", "left"), ("time", "right"), ("items", "right"), ("reused", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]  # rich's literal
        table.add_column("size", justify="right")
        for stage in self.stages.values():
            table.add_row(
                TITLES.get(stage.stage, stage.stage),
                f"{stage.seconds:.1f} s",
                str(stage.items or ""),
                str(stage.reused or ""),
                human_size(stage.size) if stage.size else "",
            )
        total = sum(stage.seconds for stage in self.stages.values())
        table.add_row("total", f"{total:.1f} s", "", "", "", style="bold")
        return table


class BarRenderer:
    """Progress bars: one line per running stage, with what it works on."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}
        self._running: dict[str, list[str]] = {}
        self.progress = Progress(
            TextColumn("[bold]{task.description:<17}"),
            BarColumn(bar_width=24),
            _Amount(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[running]}"),
            console=console,
            transient=False,
        )

    def __call__(self, event: Event) -> None:
        """Show one event; any thread may call."""
        with self._lock:
            self._show(event)

    def _show(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._start(event)
        elif isinstance(event, (Noted, Warned)):
            self.console.print(_line(event))
        elif isinstance(event, StageFinished):
            self._finish(event)
        elif event.stage in self._tasks:
            self._move(event)

    def _start(self, event: StageStarted) -> None:
        title = TITLES.get(event.stage, event.stage)
        self._running[event.stage] = []
        if event.stage in self._tasks:
            self.progress.update(self._tasks[event.stage], total=event.total, completed=0)
            return
        self._tasks[event.stage] = self.progress.add_task(title, total=event.total, unit=event.unit, running="")

    def _move(self, event: StageAdvanced | ItemStarted | ItemFinished) -> None:
        task = self._tasks[event.stage]
        if isinstance(event, StageAdvanced):
            self.progress.advance(task, event.amount)
            return
        running = self._running[event.stage]
        if isinstance(event, ItemStarted):
            running.append(event.item)
        elif event.item in running:
            running.remove(event.item)
        self.progress.update(task, running=" ".join(running[:3])[:60])

    def _finish(self, event: StageFinished) -> None:
        task = self._tasks.get(event.stage)
        if task is None:
            return
        entry = self.progress.tasks[self.progress.task_ids.index(task)]
        total = entry.total if entry.total is not None else max(entry.completed, 1)
        self.progress.update(task, total=total, completed=total, running="")


class LineRenderer:
    """One plain line when a stage ends: for logs and pipes."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self.console = console
        self.quiet = quiet

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Warned):
            self.console.print(_line(event))
        elif self.quiet:
            return
        elif isinstance(event, Noted):
            self.console.print(_line(event))
        elif isinstance(event, StageFinished):
            self.console.print(_stage_line(event))


class JsonRenderer:
    """One JSON object per line and event."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write one event; any thread may call."""
        line = json.dumps({"event": type(event).__name__, **dataclasses.asdict(event)}, sort_keys=True)
        with self._lock:
            self.stream.write(line + "\n")
            self.stream.flush()


def _stage_line(event: StageFinished) -> Text:
    parts = [f"{TITLES.get(event.stage, event.stage)}: {event.seconds:.1f} s"]
    if event.items:
        parts.append(f"{event.items} items")
    if event.reused:
        parts.append(f"{event.reused} reused")
    if event.size:
        parts.append(human_size(event.size))
    return Text(", ".join(parts))


def _line(event: Noted | Warned) -> Text:
    if isinstance(event, Noted):
        return Text(event.message)
    hint = f" ({event.hint})" if event.hint else ""
    return Text.assemble(("warning: ", "yellow"), f"{event.message}{hint}")


@contextmanager
def rendering(stream: TextIO, *, as_json: bool, quiet: bool, summary: bool = True) -> Iterator[Emit]:
    """Yield the observer for this run; print the summary when the run ended well and had several stages."""
    console = Console(file=stream, highlight=False, soft_wrap=True, emoji=False)
    totals = Summary()
    renderer: BarRenderer | LineRenderer | JsonRenderer
    if as_json:
        renderer = JsonRenderer(stream)
    elif quiet or not console.is_terminal:
        renderer = LineRenderer(console, quiet=quiet)
    else:
        renderer = BarRenderer(console)

    def emit(event: Event) -> None:
        if isinstance(event, StageFinished):
            totals.add(event)
        renderer(event)

    if isinstance(renderer, BarRenderer):
        with renderer.progress:
            yield emit
    else:
        yield emit
    if summary and not (as_json or quiet) and len(totals.stages) > 1:
        console.print(totals.table())


def show_error(error: BundlerError, stream: TextIO, *, as_json: bool) -> None:
    """Write one error: message, every problem, hint."""
    if as_json:
        document = {
            "error": error.rule,
            "exit_code": error.exit_code,
            "message": error.message,
            "hint": error.hint,
            "problems": [dataclasses.asdict(problem) for problem in error.problems],
        }
        stream.write(json.dumps(document, sort_keys=True) + "\n")
        return
    console = Console(file=stream, highlight=False, soft_wrap=True, emoji=False)
    console.print(Text.assemble(("error: ", "bold red"), error.message))
    for problem in error.problems:
        console.print(Text(f"  {problem}"))
    output = getattr(error, "output", "")
    for line in output.splitlines()[-20:]:
        console.print(Text(f"  | {line}"))
    if error.hint:
        console.print(Text.assemble(("hint: ", "bold"), error.hint))

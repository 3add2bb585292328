"""Progress bars for a terminal: one line per run of a stage, with what it works on. A bar never goes backwards."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

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
from rich.text import Text

from bundler.cli.stages import title
from bundler.events import (
    Event,
    ItemFinished,
    ItemStarted,
    Noted,
    StageAdvanced,
    StageFinished,
    StageStarted,
    Unit,
    Warned,
)

#: As many names as fit beside a bar.
_NAMED, _WIDTH = 3, 60
#: A stage that runs again replaces its earlier line if that took less than so many seconds.
_NOTEWORTHY = 1.0


class _Amount(ProgressColumn):
    """Bytes with speed, or a count, after the task's unit."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = DownloadColumn()
        self._speed = TransferSpeedColumn()
        self._items = MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        if task.total is None and not task.completed:
            return Text()
        if task.fields["unit"] == "bytes":
            return Text.assemble(self._bytes.render(task), "  ", self._speed.render(task))
        return self._items.render(task)


@dataclass(kw_only=True)
class _Line:
    """One run of a stage."""

    task: TaskID
    total: int | None
    unit: Unit
    done: int = 0
    running: list[str] = field(default_factory=list)


class BarRenderer:
    """Show events as bars; any thread may call."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}
        self.progress = Progress(
            TextColumn("[bold]{task.description:<16}"),
            BarColumn(bar_width=24),
            _Amount(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[running]}", markup=True),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def start(self) -> None:
        """Begin to draw."""
        self.progress.start()

    def stop(self) -> None:
        """Draw the last state and leave the terminal as it was."""
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            if isinstance(event, StageStarted):
                self._start(event)
            elif isinstance(event, (Noted, Warned)):
                self.console.print(message_line(event))
            elif event.stage in self._lines:
                self._move(event, self._lines[event.stage])

    def _start(self, event: StageStarted) -> None:
        """Give every run of a stage a line of its own: a line that began again would go backwards."""
        old = self._lines.get(event.stage)
        if old is not None:
            self._retire(old)
        task = self.progress.add_task(title(event.stage), total=event.total, unit=event.unit, running="")
        self._lines[event.stage] = _Line(task=task, total=event.total, unit=event.unit)

    def _retire(self, line: _Line) -> None:
        task = self._task(line)
        if not task.finished or (task.finished_time or 0) < _NOTEWORTHY:
            self.progress.remove_task(line.task)

    def _move(self, event: StageAdvanced | ItemStarted | ItemFinished | StageFinished, line: _Line) -> None:
        if isinstance(event, StageFinished):
            line.running.clear()
            whole = max(line.done, 1 if line.unit == "bytes" else event.items)
            line.total = line.done = whole if line.total is None else line.total
        elif isinstance(event, StageAdvanced):
            # What a cut download has to fetch again was counted already.
            line.done += max(0, event.amount)
            if line.total is not None:
                line.done = min(line.done, line.total)
        elif isinstance(event, ItemStarted):
            line.running.append(event.item)
        elif event.item in line.running:
            line.running.remove(event.item)
        names = " ".join(line.running[:_NAMED])[:_WIDTH].replace("[", "\\[")
        self.progress.update(line.task, total=line.total, completed=line.done, running=names)

    def _task(self, line: _Line) -> Task:
        return next(task for task in self.progress.tasks if task.id == line.task)


def message_line(event: Noted | Warned) -> Text:
    """Return a note or a warning as a line."""
    if isinstance(event, Noted):
        return Text(event.message)
    hint = f" ({event.hint})" if event.hint else ""
    return Text.assemble(("warning: ", "yellow"), f"{event.message}{hint}")

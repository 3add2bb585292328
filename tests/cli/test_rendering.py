"""Events as bars, lines and JSON; the summary; errors."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bundler.cli.bars import BarRenderer
from bundler.cli.context import Output
from bundler.cli.render import LineRenderer, Rendering, show_error
from bundler.cli.stages import Summary, human_size
from bundler.errors import CommandFailed, ManifestError, Problem
from bundler.events import (
    Event,
    ItemFinished,
    ItemStarted,
    Noted,
    StageAdvanced,
    StageFinished,
    StageStarted,
    Warned,
)

STAGES = st.sampled_from(["fetch", "build", "sign"])
AMOUNTS = st.integers(-50, 200)
EVENTS = st.one_of(
    st.builds(
        StageStarted,
        stage=STAGES,
        total=st.none() | st.integers(0, 300),
        unit=st.sampled_from(["bytes", "items"]),
    ),
    st.builds(StageAdvanced, stage=STAGES, amount=AMOUNTS),
    st.builds(ItemStarted, stage=STAGES, item=st.sampled_from(["[a]", "b"])),
    st.builds(ItemFinished, stage=STAGES, item=st.sampled_from(["[a]", "b"])),
    st.builds(StageFinished, stage=STAGES, seconds=st.just(0.1), items=st.integers(0, 9)),
)


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def _bars() -> BarRenderer:
    return BarRenderer(Console(file=io.StringIO(), force_terminal=True, width=120))


def _show(stream: io.StringIO, events: list[Event], **how: bool) -> str:
    with Rendering(stream, output := Output(**how)):  # type: ignore[arg-type]
        for event in events:
            output.emit(event)
    return stream.getvalue()


def _stages(*names: str) -> Iterator[Event]:
    for name in names:
        yield StageStarted(stage=name, total=2)
        yield StageFinished(stage=name, seconds=1.5, items=2)


@given(st.lists(EVENTS, max_size=60))
def test_a_bar_never_goes_backwards(events: list[Event]) -> None:
    """Whatever order events come in, what a line shows as done only grows, and never beyond its total."""
    bars = _bars()
    seen: dict[int, float] = {}
    for event in events:
        bars(event)
        for task in bars.progress.tasks:
            assert task.completed >= seen.get(task.id, 0)
            assert task.total is None or task.completed <= task.total
            seen[task.id] = task.completed


def test_a_stage_that_runs_again_gets_a_line_of_its_own() -> None:
    """A short earlier run makes room for the next one, so that one line per stage stays."""
    bars = _bars()
    for event in [*_stages("fetch"), *_stages("fetch"), *_stages("build")]:
        bars(event)

    assert [task.description for task in bars.progress.tasks] == ["Fetch", "Build wheels"]
    assert [task.completed for task in bars.progress.tasks] == [2, 2]


def test_a_bar_names_what_is_running() -> None:
    """Beside the bar stand the items in work, and they go when they are done."""
    bars = _bars()
    bars(StageStarted(stage="build", total=2))
    bars(ItemStarted(stage="build", item="nova"))
    bars(ItemStarted(stage="build", item="keystone"))
    bars(ItemFinished(stage="build", item="nova"))

    assert bars.progress.tasks[0].fields["running"] == "keystone"


def test_names_with_brackets_are_no_markup() -> None:
    """An item such as `uvicorn[standard]` is shown as it is."""
    bars = _bars()
    bars(StageStarted(stage="build", total=2))
    bars(ItemStarted(stage="build", item="uvicorn[red]"))
    bars.start()
    bars.stop()

    assert isinstance(bars.console.file, io.StringIO)
    assert "uvicorn[red]" in bars.console.file.getvalue()


def test_a_terminal_gets_bars_and_pipes_get_lines() -> None:
    """Bars are drawn on a terminal only; a pipe gets one line per finished stage."""
    events = list(_stages("fetch"))

    assert "━" in _show(Terminal(), events)
    assert _show(io.StringIO(), events) == "Fetch: 1.5 s, 2 items\n"


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """With TERM=dumb there is no bar, no colour and no control sequence."""
    monkeypatch.setenv("TERM", "dumb")

    shown = _show(Terminal(), [Warned(message="careful"), *_stages("fetch")])

    assert shown == "warning: careful\nFetch: 1.5 s, 2 items\n"


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR a terminal gets bars without colours."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    shown = _show(Terminal(), [Warned(message="careful"), *_stages("fetch")])

    assert "warning: careful" in shown
    assert not any(f"\x1b[{colour}" in shown for colour in ("3", "9"))


def test_forced_colour_draws_no_bars_into_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE_COLOR may colour a log, but what is no terminal gets no moving bars."""
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert "━" not in _show(io.StringIO(), list(_stages("fetch")))


def test_a_warning_is_shown_once() -> None:
    """The same warning from several stages is one line."""
    warning = Warned(message="pip's extra indexes are not used", hint="name them")

    assert _show(io.StringIO(), [warning, Noted(message="x"), warning]).count("warning") == 1


def test_one_stage_needs_no_summary() -> None:
    """A run of one stage, even if it ran twice, ends without a table."""
    assert "whole run" not in _show(io.StringIO(), [*_stages("fetch"), *_stages("fetch")])


def test_several_stages_end_with_a_summary() -> None:
    """The table has a row for each stage, figures of repeated runs added up, and the time of the whole run."""
    shown = _show(io.StringIO(), [*_stages("fetch"), *_stages("fetch"), *_stages("build")])

    rows = {line.split("  ")[0]: line.split() for line in shown.splitlines()[-4:]}
    assert rows["Fetch"][1:4] == ["3.0", "s", "4"]
    assert rows["Build wheels"][2:5] == ["1.5", "s", "2"]
    assert "whole run" in rows


def test_quiet_leaves_warnings_only() -> None:
    """With --quiet neither notes, stages nor the summary are shown."""
    shown = _show(
        io.StringIO(), [Noted(message="x"), Warned(message="w"), *_stages("fetch", "build")], json=False, quiet=True
    )

    assert shown == "warning: w\n"


def test_events_are_json_lines() -> None:
    """With --json each event is an object on its own line, named by its kind, and nothing else is written."""
    shown = _show(io.StringIO(), [Warned(message="w", hint="h"), *_stages("fetch", "build")], json=True, quiet=True)

    lines = [json.loads(line) for line in shown.splitlines()]
    assert lines[0] == {"event": "Warned", "message": "w", "hint": "h"}
    assert [line["event"] for line in lines[1:]] == ["StageStarted", "StageFinished"] * 2


def test_the_bars_end_before_the_result_begins(capsys: pytest.CaptureFixture[str]) -> None:
    """A result is never drawn over: bars stop, then the summary comes, then the result."""
    stream = Terminal()
    with Rendering(stream, output := Output()):
        for event in _stages("fetch", "build"):
            output.emit(event)
        output.out("the result")
        before = stream.getvalue()

    assert "whole run" in before
    assert stream.getvalue() == before
    assert capsys.readouterr().out == "the result\n"


def test_a_failed_run_has_no_summary() -> None:
    """What ends with an error shows the error, not a table of what went well."""
    stream = io.StringIO()

    def failing() -> None:
        with Rendering(stream, output := Output()):
            for event in _stages("fetch", "build"):
                output.emit(event)
            raise ManifestError("no")

    with pytest.raises(ManifestError):
        failing()
    assert "whole run" not in stream.getvalue()


def test_a_long_stage_gives_a_sign_of_life_in_a_log() -> None:
    """A stage that has said nothing for half a minute gives a line with what it works on."""
    now = iter([0.0, 5.0, 40.0, 40.0, 41.0])
    stream = io.StringIO()
    lines = LineRenderer(Console(file=stream), clock=lambda: next(now))

    lines(ItemStarted(stage="build", item="nova"))
    lines(StageAdvanced(stage="build"))
    lines(StageAdvanced(stage="build"))

    assert stream.getvalue() == "Build wheels goes on: nova\n"


def test_a_piped_table_is_not_cut() -> None:
    """A table that a program reads has whole cells, however long they are."""
    output = Output()
    stream = io.StringIO()
    output.console.file = stream

    output.table("", ["name", "#size"], [["x" * 300, "1"]])

    assert "x" * 300 in stream.getvalue()


def test_an_error_shows_message_problems_output_and_hint() -> None:
    """Text for people has all that is known; a program's output is cut to its end."""
    stream = io.StringIO()
    show_error(
        ManifestError("two mistakes", hint="fix", problems=[Problem(where="a:1", what="b")]), stream, as_json=False
    )
    said = "\n".join(f"line {number}" for number in range(50))
    show_error(CommandFailed("cc failed", returncode=1, output=said), stream, as_json=False)

    assert stream.getvalue().startswith("error: two mistakes\n  a:1: b\nhint: fix\nerror: cc failed\n  | line 30\n")


def test_an_error_in_json_has_the_same_facts() -> None:
    """One line with rule, exit code, message, problems and hint."""
    stream = io.StringIO()
    show_error(ManifestError("bad", hint="fix", problems=[Problem(where="a:1", what="b")]), stream, as_json=True)

    assert json.loads(stream.getvalue()) == {
        "event": "Failed",
        "error": "ManifestError",
        "exit_code": 10,
        "message": "bad",
        "hint": "fix",
        "problems": [{"where": "a:1", "what": "b", "hint": ""}],
    }


def test_sizes_are_decimal() -> None:
    """12 345 678 bytes are 12.3 MB."""
    assert [human_size(size) for size in (0, 999, 12_345_678, 3e12)] == ["0 B", "999 B", "12.3 MB", "3.00 TB"]


def test_figures_of_a_stage_add_up() -> None:
    """Items and bytes of several runs are counted once each."""
    summary = Summary()
    for size in (5, 7):
        summary.add(StageFinished(stage="fetch", seconds=1, items=1, size=size))

    assert summary.stages["fetch"].size == 12

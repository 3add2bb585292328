"""The clock that a build can fix, the default observer, and the tree of errors."""

from __future__ import annotations

import inspect
import re

import pytest

from bundler import clock, errors, events


def test_the_time_is_fixed_by_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build with SOURCE_DATE_EPOCH sees that time; without, or with nonsense in it, the real one."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "315532800")
    assert clock.now() == 315532800

    for nonsense in ("", "soon", "-1", "²"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", nonsense)
        assert clock.now() > 1_700_000_000


def test_times_are_written_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of a moment does not depend on the time zone."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu")

    assert clock.iso(315532800) == "1980-01-01T00:00:00Z"


def test_durations_only_grow() -> None:
    """The stopwatch is monotonic, and a pause takes its time."""
    began = clock.stopwatch()
    clock.pause(0.01)

    assert clock.stopwatch() - began >= 0.01


def test_the_default_observer_ignores_everything() -> None:
    """Library code may emit whether or not somebody listens, and nobody can change an event."""
    event = events.Warned(message="x")
    events.ignore(event)

    with pytest.raises(AttributeError):
        event.message = "y"  # type: ignore[misc]


def leaves() -> dict[str, type[errors.BundlerError]]:
    classes = inspect.getmembers(errors, inspect.isclass)
    return {
        name: kind for name, kind in classes if issubclass(kind, errors.BundlerError) and not kind.__subclasses__()
    }


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    """Every leaf is drawn with its exit code, and nothing is drawn that does not exist."""
    drawn = dict(re.findall(r"── (\w+) +(\d+)(?= |$)", errors.__doc__ or "", re.MULTILINE))

    assert {name: int(code) for name, code in drawn.items()} == {
        name: kind.exit_code for name, kind in leaves().items()
    }


def test_no_two_errors_share_an_exit_code() -> None:
    """A script can tell every failure from every other, and none from success or a shell's own codes."""
    codes = [kind.exit_code for kind in leaves().values()]

    assert len(codes) == len(set(codes))
    assert all(1 < code < 126 or code == 130 for code in codes)


def test_a_problem_reads_as_one_line() -> None:
    """Place, fault and hint make one line; what is missing leaves no trace."""
    assert str(errors.Problem(where="m.yaml:3", what="unknown key", hint="did you mean x?")) == (
        "m.yaml:3: unknown key (did you mean x?)"
    )
    assert str(errors.Problem(where="", what="wrong")) == "wrong"

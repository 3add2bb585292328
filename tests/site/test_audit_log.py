"""The audit log: chained, durable, and honest about what happened to it."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.deploy.audit import MAX_RECORD, START, AuditLog
from bundler.deploy.audit_check import check_log
from bundler.errors import StoreError


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    found = AuditLog(tmp_path / "state" / "audit.jsonl")
    for number in range(5):
        found.append("staged", {"host": f"repo{number}"})
    return found


def told(log: AuditLog) -> list[str]:
    return [str(problem) for problem in check_log(log).problems]


def test_records_come_back_in_order(log: AuditLog) -> None:
    """Event, facts, number and who are kept."""
    records = list(log.records())

    assert [record.facts["host"] for record in records] == [f"repo{number}" for number in range(5)]
    assert [record.number for record in records] == [1, 2, 3, 4, 5]
    assert set(records[0].who) == {"uid", "login", "tty", "sudo_user"}
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_the_head_is_what_stock_tools_say(log: AuditLog) -> None:
    """`tail -n 1 | sha256sum` gives the head."""
    line = subprocess.run(["tail", "-n", "1", str(log.path)], capture_output=True, check=True).stdout

    assert log.head() == hashlib.sha256(line).hexdigest()
    assert log.append("x", {}) == log.head()


def test_an_untouched_log_has_no_problems(log: AuditLog) -> None:
    """The report has count and head."""
    report = check_log(log)

    assert (report.records, report.head, report.problems, report.recovered) == (5, log.head(), (), ())


def test_an_empty_log_is_right(tmp_path: Path) -> None:
    """Its head is what the first record will follow."""
    log = AuditLog(tmp_path / "audit.jsonl")

    assert (log.head(), check_log(log).problems, list(log.records())) == (START, (), [])


def _edit(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b"repo1", b"repo9"), *lines[2:]]


def _garble(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b"x" + lines[1], *lines[2:]]


def _insert(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[0], *lines[2:]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_edit, ["audit.jsonl line 2: was edited: line 3 was written after other bytes"]),
        (_garble, ["audit.jsonl line 2: is no record: it was edited"]),
        (lambda lines: [lines[0], *lines[2:]], ["audit.jsonl line 2: 1 record before it is missing"]),
        (lambda lines: [lines[0], *lines[4:]], ["audit.jsonl line 2: 3 records before it are missing"]),
        (lambda lines: lines[1:], ["audit.jsonl line 1: 1 record before it is missing"]),
        (_insert, ["audit.jsonl line 3: was moved", "audit.jsonl line 4: was moved"]),
        (lambda lines: [lines[1], lines[0], *lines[2:]], ["line 1: 1 record", "line 2: was moved", "line 3: "]),
    ],
    ids=["edited", "garbled", "removed", "three removed", "first removed", "added", "swapped"],
)
def test_a_change_is_found_and_named(
    log: AuditLog, change: Callable[[list[bytes]], list[bytes]], expected: list[str]
) -> None:
    """Edited, removed, added and moved lines are told apart, each by its number."""
    lines = log.path.read_bytes().splitlines(keepends=True)

    log.path.write_bytes(b"".join(change(lines)))

    found = told(log)
    assert len(found) == len(expected), found
    assert all(part in one for part, one in zip(expected, found, strict=True)), found


@pytest.mark.parametrize("change", ["edit", "cut"])
def test_a_head_kept_elsewhere_finds_changes_at_the_end(log: AuditLog, change: str) -> None:
    """The last line has nobody after it; a receipt has."""
    head = ("receipt", *log.position())
    data = log.path.read_bytes()
    lines = data.splitlines(keepends=True)
    log.path.write_bytes(data.replace(b"repo4", b"repo9") if change == "edit" else b"".join(lines[:-1]))

    assert not told(log)
    assert [problem.where for problem in check_log(log, [head]).problems] == ["receipt"]


def test_a_head_that_the_log_has_passed_is_right(log: AuditLog) -> None:
    """The log went on after the receipt."""
    head = ("receipt", *log.position())
    log.append("x", {})

    assert not check_log(log, [head, ("first", 0, START)]).problems


@pytest.mark.parametrize("left", [1, 30, -2])
def test_a_torn_line_is_healed_and_stays_visible(log: AuditLog, left: int) -> None:
    """What a kill left stays where it is; a record says so and the chain goes on through it."""
    data = log.path.read_bytes()
    whole = data[: data.rindex(b"{")]
    torn = whole + data[len(whole) :][:left]
    log.path.write_bytes(torn)
    assert "not healed yet" in check_log(log).recovered[0]

    log.append("x", {})

    report = check_log(log)
    assert not report.problems
    assert report.recovered[0].startswith("line 5: torn by a kill, healed at ")
    assert [record.event for record in log.records()] == ["staged"] * 4 + ["recovered", "x"]
    assert log.path.read_bytes().startswith(torn)


def test_a_lost_newline_loses_nothing(log: AuditLog) -> None:
    """A record that is whole but for its newline counts."""
    log.path.write_bytes(log.path.read_bytes()[:-1])
    assert not told(log)

    log.append("x", {})

    assert not told(log)
    assert [record.number for record in log.records()] == [1, 2, 3, 4, 5, 6]


def test_a_kill_while_healing_is_healed_too(log: AuditLog) -> None:
    """Several torn lines in a row are all vouched for."""
    log.path.write_bytes(log.path.read_bytes()[:-9])
    log.append("x", {})
    data = log.path.read_bytes()
    log.path.write_bytes(data[: data.index(b'"recovered"')])

    log.append("y", {})

    report = check_log(log)
    assert not report.problems
    assert report.recovered[0].startswith("line 5, 6: torn by a kill")


@settings(max_examples=30, deadline=None)
@given(st.integers(min_value=0, max_value=2000))
def test_a_cut_anywhere_is_healed(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    """However little of the log is left, appending goes on and the chain holds."""
    log = AuditLog(tmp_path_factory.mktemp("log") / "audit.jsonl")
    for number in range(4):
        log.append("x", {"n": number})
    log.path.write_bytes(log.path.read_bytes()[:size])

    log.append("y", {})

    assert not check_log(log).problems


def test_an_edit_of_a_healed_line_is_found(log: AuditLog) -> None:
    """Healing hides nothing: the torn line is part of the chain."""
    log.path.write_bytes(log.path.read_bytes()[:-20])
    log.append("x", {})
    log.path.write_bytes(log.path.read_bytes().replace(b"repo4", b"repo9"))

    assert "line 5: is no record: it was edited" in told(log)[0]


def test_facts_cannot_end_a_line(log: AuditLog) -> None:
    """Whatever a fact holds, a record is one line of ASCII."""
    log.append("x", {"text": '\n{"event": "activated"}\u2028\udcff'})

    assert len(log.path.read_bytes().splitlines()) == 6
    assert not told(log)


def test_a_record_without_end_is_not_written(log: AuditLog) -> None:
    """A record has a largest size, and the log stays as it was."""
    before = log.path.read_bytes()

    with pytest.raises(StoreError, match="too long"):
        log.append("x", {"text": "a" * MAX_RECORD})

    assert log.path.read_bytes() == before


def test_a_line_without_end_does_not_fill_memory(log: AuditLog) -> None:
    """A line longer than any record is read in pieces and is none."""
    with log.path.open("ab") as file:
        file.write(b"x" * (3 * MAX_RECORD) + b"\n")

    assert told(log) == ["audit.jsonl line 6: is no record: it was edited"]


def _append(path: Path, name: int) -> None:
    for _ in range(20):
        AuditLog(path).append("x", {"name": name})


def test_processes_append_one_after_the_other(tmp_path: Path) -> None:
    """Two writers make one chain."""
    path = tmp_path / "audit.jsonl"
    workers = [multiprocessing.get_context("fork").Process(target=_append, args=(path, name)) for name in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert (check_log(AuditLog(path)).records, told(AuditLog(path))) == (40, [])


def test_a_key_twice_in_a_record_is_an_edit(log: AuditLog) -> None:
    """A line counts only if it is byte for byte what we would write."""
    lines = log.path.read_bytes().splitlines(keepends=True)
    record = json.loads(lines[-1])
    lines[-1] = json.dumps(record, indent=None).encode() + b"\n"
    log.path.write_bytes(b"".join(lines))

    assert told(log) == ["audit.jsonl line 5: is no record: it was edited"]

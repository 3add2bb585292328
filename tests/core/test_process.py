"""Running commands: nothing hangs, nothing leaks, nothing is left behind."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler import process as process_module
from bundler.clock import pause, stopwatch
from bundler.errors import CommandFailed, SpaceError, ToolMissing
from bundler.process import Command, end_children, in_processes, redact, run, share_out, start, stop, tail, which

if TYPE_CHECKING:
    from tests.core.conftest import Terminal


def sh(script: str, *words: str, secrets: tuple[str, ...] = ()) -> Command:
    return Command(argv=["sh", "-c", script, "sh", *words], secrets=secrets)


def ended(pid: int) -> bool:
    """Return whether the process has ended; one that only waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def gone(pid: int) -> bool:
    """Return whether the process ends before long: a busy machine takes its time."""
    deadline = stopwatch() + 30
    while stopwatch() < deadline:
        if ended(pid):
            return True
        pause(0.02)
    return False


def test_both_streams_are_drained_together() -> None:
    """A command that fills stdout and stderr beyond a pipe's size ends, with all of both."""
    done = run(sh("head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"), timeout=30)

    assert (len(done.stdout), len(done.stderr)) == (300000, 300000)


def test_input_larger_than_a_pipe_reaches_the_command() -> None:
    """The input is fed while stdout is read; a command that does not read its input is no error."""
    data = os.urandom(1 << 20)

    assert run(Command(argv=["cat"], stdin=data), timeout=30).stdout == data
    assert run(Command(argv=["true"], stdin=data), timeout=30).returncode == 0


def test_a_failure_says_what_was_said() -> None:
    """A non-zero status raises with status and stderr, and only with check."""
    with pytest.raises(CommandFailed) as caught:
        run(sh("echo oops >&2; exit 7"))

    assert (caught.value.returncode, caught.value.output) == (7, "oops\n")
    assert run(sh("exit 7"), check=False).returncode == 7


def test_a_log_takes_both_streams_and_its_tail_is_reported(tmp_path: Path) -> None:
    """With a log, output is appended there, and a failure reports the log's end."""
    log = tmp_path / "logs" / "build.log"
    run(sh("echo first"), log=log)

    with pytest.raises(CommandFailed) as caught:
        run(sh("echo second; echo third >&2; exit 1"), log=log)

    assert log.read_text() == "first\nsecond\nthird\n"
    assert caught.value.output.endswith("third\n")


def test_the_tail_is_bounded(tmp_path: Path) -> None:
    """Of a long file only the end is read."""
    path = tmp_path / "log"
    path.write_bytes(b"a" * 10000 + b"end")

    assert tail(path, 5) == b"aaend"


def test_a_missing_tool_names_the_package_that_brings_it() -> None:
    """The hint is a command to copy."""
    with pytest.raises(ToolMissing) as caught:
        which("bwrap-that-is-not-there")
    assert caught.value.hint == "apt-get install bwrap-that-is-not-there"

    with pytest.raises(ToolMissing) as caught:
        run(Command(argv=["ssh-keygen", "-h"], env={"PATH": "/nowhere"}))
    assert caught.value.hint == "apt-get install openssh-client"


def test_a_program_is_found_where_its_own_environment_has_it(tmp_path: Path) -> None:
    """PATH of the command's environment counts, not ours; a relative program is relative to its directory."""
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)

    assert run(Command(argv=["only-here"], env={"PATH": str(tmp_path)})).text == "found\n"
    assert run(Command(argv=["./only-here"], cwd=tmp_path)).text == "found\n"


def test_a_command_that_cannot_start_is_an_error_of_ours(tmp_path: Path) -> None:
    """A missing working directory, a lost interpreter and a NUL byte are reported, not thrown through."""
    script = tmp_path / "script"
    script.write_text("#!/nowhere/python\n")
    script.chmod(0o755)

    for command in (
        Command(argv=["true"], cwd=tmp_path / "missing"),
        Command(argv=[str(script)]),
        Command(argv=["true", "a\0b"]),
    ):
        with pytest.raises(CommandFailed, match="cannot start"):
            run(command)


def test_a_time_out_ends_the_children_too(tmp_path: Path) -> None:
    """When the time is up, the whole process group ends, and what was said is kept."""
    pid = tmp_path / "pid"
    began = stopwatch()

    with pytest.raises(CommandFailed) as caught:
        run(sh('echo begun >&2; sleep 60 & echo $! > "$1"; wait', str(pid)), timeout=0.5)

    assert stopwatch() - began < 10
    assert "took longer than 0.5 s" in caught.value.message
    assert caught.value.output == "begun\n"
    assert gone(int(pid.read_text()))


def test_a_signal_can_end_everything_that_runs(tmp_path: Path) -> None:
    """end_children ends commands of other threads with all that they started."""
    pid = tmp_path / "pid"
    command = sh('sleep 60 & echo $! > "$1.new"; mv "$1.new" "$1"; wait', str(pid))
    status: list[int] = []
    thread = threading.Thread(target=lambda: status.append(run(command, check=False).returncode))
    thread.start()
    while not pid.exists():
        pause(0.02)

    end_children()
    thread.join(timeout=10)

    assert status == [-9]
    assert gone(int(pid.read_text()))


def test_nothing_outlives_a_kill_of_us(tmp_path: Path) -> None:
    """After kill -9 of us our commands end too, with all that they started, and so does the watchdog."""
    script = (
        "import sys, threading, time; from bundler.process import *\n"
        "run(Command(argv=['true']))\n"
        "script = 'sleep 60 & echo $! $$ > $1.new; mv $1.new $1; wait'\n"
        "command = Command(argv=['sh', '-c', script, 'sh', sys.argv[1]])\n"
        "threading.Thread(target=run, args=(command,)).start()\n"
        "time.sleep(60)\n"
    )
    pids = tmp_path / "pids"
    with subprocess.Popen([sys.executable, "-c", script, str(pids)]) as us:
        while not pids.exists():
            pause(0.02)
        children = Path(f"/proc/{us.pid}/task/{us.pid}/children").read_text().split()
        us.kill()

    assert all(gone(int(pid)) for pid in (*pids.read_text().split(), *children))


def test_a_command_that_has_ended_is_forgotten(tmp_path: Path) -> None:
    """What a command leaves running on purpose, like an agent, is not ended with us once the command has ended."""
    script = (
        "import sys; from bundler.process import *\n"
        "done = run(Command(argv=['sh', '-c', 'sleep 60 > /dev/null 2>&1 & echo $!']))\n"
        "run(Command(argv=['true'])); print(done.text)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    pid = int(done.stdout)

    pause(0.2)
    assert not ended(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_full_disk_in_a_command_is_a_full_disk(tmp_path: Path) -> None:
    """A program that fails because there is no room gives the error for that, with its log and without check too."""
    command = sh("echo 'tar: x: Cannot write: No space left on device' >&2; exit 2")

    for options in ({}, {"check": False}, {"log": tmp_path / "log"}):
        with pytest.raises(SpaceError, match="no space left while sh ran: tar: x: Cannot write"):
            run(command, **options)
    assert run(sh("echo No space left on device")).returncode == 0


def test_a_command_can_have_the_terminal(terminal: Terminal) -> None:
    """A command with our terminal reads what the person types, in the foreground, and stdout still comes to us."""
    script = (
        "from bundler.process import *\n"
        "argv = ['sh', '-c', 'printf \"who? \" > /dev/tty; read -r x < /dev/tty; echo \"<$x>\"']\n"
        "print('got', run(Command(argv=argv, terminal=True)).text)\n"
    )
    with terminal.run(sys.executable, "-c", script) as session:
        session.expect("who? ")
        session.type("me\n")
        session.expect("got <me>")

    assert session.status == 0


def test_a_command_with_the_terminal_ends_with_the_time(terminal: Terminal) -> None:
    """A time-out reaches a command that has no process group of its own."""
    script = (
        "from bundler.process import *; from bundler.errors import *\n"
        "try: run(Command(argv=['sleep', '60'], terminal=True), timeout=0.2)\n"
        "except CommandFailed as error: print(error)\n"
    )
    with terminal.run(sys.executable, "-c", script) as session:
        session.expect("took longer than 0.2 s")

    assert session.status == 0


def test_secrets_reach_no_message() -> None:
    """Neither the text of the command nor what it said shows a secret, even quoted or as part of another."""
    secret = "it's $ecret"

    with pytest.raises(CommandFailed) as caught:
        run(sh('echo "password: $1" >&2; exit 1', secret, secrets=("it", secret)))

    shown = f"{caught.value.message} {caught.value.output} {caught.value.hint}"
    assert "ecret" not in shown
    assert "password: ***" in shown
    assert "ecret" not in repr(sh("true", secrets=(secret,)))


@given(st.lists(st.text("abc", min_size=1, max_size=5), max_size=4), st.text("abc ", max_size=20))
def test_no_secret_survives_redaction(secrets: list[str], text: str) -> None:
    """Whatever the secrets, and however they overlap, none of them is left whole."""
    hidden = redact(" ".join([text, *secrets]), secrets)

    assert not any(secret in hidden for secret in secrets)


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=3))
def test_arguments_arrive_as_they_are(words: list[str]) -> None:
    """No shell touches an argument, and the text of a command can be pasted into one."""
    command = Command(argv=[sys.executable, "-c", "", *words])

    assert shlex.split(str(command)) == list(command.argv)


def test_hostile_arguments_survive_the_real_thing() -> None:
    """Quotes, variables, newlines and leading dashes reach a real program unchanged."""
    words = ["$HOME", "`id`", "a b", "'", '"', "\n", "-n", "*", "\\", "ä\u2028"]

    done = run(Command(argv=["printf", "%s\\0", *words]))

    assert done.stdout.decode().split("\0")[:-1] == words
    assert (
        subprocess.run(
            ["sh", "-c", str(Command(argv=["printf", "%s\\0", *words]))], capture_output=True, check=True
        ).stdout
        == done.stdout
    )


def test_stopping_twice_leaves_the_watchdog_at_rest() -> None:
    """A command that is stopped more than once is forgotten once: the watchdog has nothing to chew on."""
    script = process_module._Watchdog._SCRIPT
    lines = "+ 1000001\n" + "- 1000001\n" * 64 + "+ 1000002\n- 1000002\n"

    done = run(Command(argv=["sh", "-c", script], stdin=lines.encode()), timeout=20)

    assert done.returncode == 0


def test_a_started_command_is_stopped_twice_with_one_status() -> None:
    """The second stop of a started command returns the status of the first."""
    with start(sh("exit 7")) as process:
        statuses = [stop(process, patience=5), stop(process)]

    assert statuses == [7, 7]


def _refuse() -> None:
    raise SpaceError("full", hint="free some")


def test_parts_run_in_processes_of_their_own(tmp_path: Path) -> None:
    """Every part runs, none of them in our process, and what one raises is raised here with all it says."""
    parts = [lambda name=name: (tmp_path / name).write_text(str(os.getpid())) for name in "ab"]

    in_processes(parts)
    with pytest.raises(SpaceError, match="full") as raised:
        in_processes([_refuse, lambda: None])

    pids = {(tmp_path / name).read_text() for name in "ab"}
    assert len(pids - {str(os.getpid())}) == 2
    assert raised.value.hint == "free some"


@pytest.mark.parametrize("count", [0, 1, 7, 5000])
@pytest.mark.parametrize("workers", [1, 3])
def test_numbers_are_shared_out(count: int, workers: int) -> None:
    """Every number comes once, to any of the processes; what they return comes back."""
    found = share_out(count, list, workers)

    assert sorted(number for numbers in found for number in numbers) == list(range(count))
    assert len(found) == max(1, min(count, workers))


def test_what_one_process_raises_ends_the_others(tmp_path: Path) -> None:
    """The others begin nothing more; what is done aside comes to its end."""

    def work(numbers: Iterator[int]) -> None:
        for number in numbers:
            if number == 0:
                raise SpaceError("full")
            pause(0.01)
            (tmp_path / f"{number}").touch()

    with pytest.raises(SpaceError, match="full"):
        share_out(1000, work, 2, (tmp_path / "aside").touch)

    assert (tmp_path / "aside").exists()
    assert len(list(tmp_path.iterdir())) < 1000


def test_a_part_that_is_killed_is_an_error() -> None:
    """A part that ends by a signal is said to have failed."""
    with pytest.raises(CommandFailed, match="ended with -9"):
        in_processes([lambda: os.kill(os.getpid(), signal.SIGKILL)])


def test_no_part_outlives_a_kill_of_us(tmp_path: Path) -> None:
    """After kill -9 of us the parts end too."""
    script = (
        "import os, sys, time; from pathlib import Path; from bundler.process import in_processes\n"
        "def part():\n    Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)\n"
        "in_processes([part])\n"
    )
    place = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", script, str(place)]) as us:
        while not place.exists() or not place.read_text():
            pause(0.02)
        us.kill()

    assert gone(int(place.read_text()))

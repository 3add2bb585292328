"""How a run ends: signals, a reader that leaves, a full disk. Real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import User

BIN = Path(sys.executable).parent
_PATIENCE = 30


class SilentIndex:
    """An index that takes connections and never answers: whoever asks it is in the middle of something."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/simple/"
        self.asked = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._open.append(connection)
                connection.recv(1)
                self.asked.set()

    def close(self) -> None:
        for one in (*self._open, self._socket):
            one.close()


@pytest.fixture
def silent() -> Iterator[SilentIndex]:
    index = SilentIndex()
    yield index
    index.close()


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            children = {int(child) for child in (thread / "children").read_text().split()}
            found |= children.union(*(_descendants(child) for child in children))
    return found


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _wait_gone(pids: set[int]) -> set[int]:
    end = time.monotonic() + _PATIENCE
    while (left := {pid for pid in pids if _alive(pid)}) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def _locking(user: User, silent: SilentIndex, *options: str) -> tuple[subprocess.Popen[str], set[int]]:
    """Start a lock that waits for the silent index; return it and its children."""
    path = user.home / "tiny.yaml"
    text = path.read_text().replace("venvs:", f"indexes: [{{name: silent, url: '{silent.url}'}}]\nvenvs:")
    (user.home / "silent.yaml").write_text(text)
    silent.asked.clear()
    process = subprocess.Popen(
        [str(BIN / "bundle-build"), "lock", "silent.yaml", *options],
        cwd=user.home,
        env=user.env({"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if not silent.asked.wait(_PATIENCE):
        process.kill()
        pytest.fail(f"nothing was asked: {process.communicate()}")
    return process, _descendants(process.pid)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_ends_the_run_and_its_children(
    user: User, silent: SilentIndex, number: signal.Signals, status: int
) -> None:
    """Ctrl-C and its like end at once, with the shell's status, one line, no traceback and no child left."""
    process, children = _locking(user, silent)

    process.send_signal(number)
    out, said = process.communicate(timeout=_PATIENCE)

    assert children
    assert process.returncode == status
    assert out == ""
    assert said.splitlines()[-1] == "error: stopped; a rerun goes on where it was"
    assert "Traceback" not in said
    assert not _wait_gone(children)


def test_a_signal_is_told_in_json(user: User, silent: SilentIndex) -> None:
    """With --json the last line on stderr is the refusal as an object."""
    process, _ = _locking(user, silent, "--json")

    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=_PATIENCE)

    last = json.loads(said.splitlines()[-1])
    assert (last["error"], last["exit_code"]) == ("InterruptedByUser", 143)


def test_nothing_is_half_done_after_a_signal(user: User, silent: SilentIndex) -> None:
    """A stopped lock leaves no lock directory, and the next run is not held up by it."""
    process, _ = _locking(user, silent)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=_PATIENCE)

    assert not (user.home / "silent.lock").exists()
    user.run("manifest", "check", "silent.yaml")
    again, _ = _locking(user, silent)
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=_PATIENCE)
    assert again.returncode == 130


def _catches_interrupts(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next((line.split()[1] for line in lines if line.startswith("SigCgt")), "0")
    return bool(int(caught, 16) & 1 << (signal.SIGINT - 1))


def _interrupt_early(user: User) -> tuple[int, str]:
    """Send SIGINT between the start of Python, which catches it, and our own handler; return status and stderr."""
    command = [str(BIN / "bundle-build"), "config"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=user.env())
    with contextlib.suppress(OSError):  # the moment was missed: it has ended
        for wanted in (True, False):
            while _catches_interrupts(process.pid) is not wanted and process.poll() is None:
                pass
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=_PATIENCE)
    return process.returncode, said


def test_an_early_signal_has_no_traceback(user: User) -> None:
    """Ctrl-C while the program is still being loaded ends it without a word about its imports."""
    # On a busy machine the moment may be missed.
    outcomes = [_interrupt_early(user) for _ in range(3)]

    assert (-signal.SIGINT, "") in outcomes
    assert not any("Traceback" in said for _, said in outcomes)


def test_an_ignored_signal_stays_ignored(user: User, silent: SilentIndex) -> None:
    """What nohup or a background shell asked to be ignored does not end the run."""
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process, _ = _locking(user, silent)
    finally:
        signal.signal(signal.SIGHUP, old)

    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=_PATIENCE)


@pytest.mark.parametrize(
    "how", ["bundle-build manifest schema", "bundle-build config", "bundle-build manifest sample"]
)
def test_a_reader_that_leaves_is_no_error(user: User, how: str) -> None:
    """`| head -c 1` ends the run silently, with both ends well."""
    script = f"set -o pipefail; {how} | head -c 1 >/dev/null"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, cwd=user.home, env=user.env()
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_was_never_there_is_no_error(user: User) -> None:
    """Output into a closed pipe, however large, is dropped."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [str(BIN / "bundle-build"), "manifest", "schema"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=user.env(),
    )
    os.close(write)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("closed", "status"), [("config >&-", 0), ("config 2>&-", 0), ("nope >&- 2>&-", 2)])
def test_closed_streams_are_like_dev_null(user: User, closed: str, status: int) -> None:
    """Without stdout or stderr a run ends as it would with them."""
    done = subprocess.run(["bash", "-c", f"bundle-build {closed}"], capture_output=True, env=user.env(), check=False)

    assert done.returncode == status
    assert b"Traceback" not in done.stderr


def test_a_full_disk_is_one_message(user: User) -> None:
    """A result that cannot be written is exit code 63 with a hint, not a traceback."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(BIN / "bundle-build"), "manifest", "sample"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=user.env(),
        )

    assert done.returncode == 63
    assert done.stderr.startswith("error: no space left")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_broken_manifest_names_all_problems_and_its_exit_code(user: User) -> None:
    """An error that a command raises is shown whole, and its code is the status."""
    (user.home / "tiny.yaml").write_text("schema: 1\nrelease: {name: t}\nvenvss: {}\n")

    done = user.run("manifest", "check", "tiny.yaml", status=10)

    assert "venvss" in done.stderr
    assert "version" in done.stderr

"""A terminal for programs that ask people."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from bundler.clock import stopwatch


class Session:
    """A program on a terminal of its own, and what it has shown."""

    def __init__(self, process: subprocess.Popen[bytes], handle: int) -> None:
        self._process = process
        self._handle = handle
        self.shown = ""
        self.status: int | None = None

    def read(self, seconds: float) -> str:
        """Return what comes within the time, or nothing: also once the program has ended."""
        deadline = stopwatch() + seconds
        ended = False
        while not ended and stopwatch() < deadline:
            ended = self._process.poll() is not None
            ready, _, _ = select.select([self._handle], [], [], 0 if ended else 0.05)
            if ready:
                text = os.read(self._handle, 65536).decode("utf-8", "replace")
                self.shown += text
                return text
        return ""

    def expect(self, text: str) -> None:
        """Wait until ``text`` is shown."""
        while text not in self.shown:
            assert self.read(20), f"{text!r} does not come: {self.shown!r}"

    def type(self, text: str) -> None:
        """Type at the terminal."""
        os.write(self._handle, text.encode())

    def end(self) -> None:
        """Read the rest and wait for the end."""
        while self.read(20):
            pass
        self.status = self._process.wait(20)


class Terminal:
    """Runs programs that believe that a person sits there."""

    @contextlib.contextmanager
    def run(self, *argv: str, env: Mapping[str, str] | None = None) -> Iterator[Session]:
        """Run a program in a session of its own whose terminal we are."""
        ours, theirs = pty.openpty()
        # The first terminal that the leader of a session opens becomes the session's own.
        start = "import os, sys\nt = os.open(sys.argv[1], os.O_RDWR)\n[os.dup2(t, n) for n in (0, 1, 2)]\n"
        start += "os.execv(sys.argv[2], sys.argv[2:])"
        command = [sys.executable, "-I", "-c", start, os.ttyname(theirs), *argv]
        process = subprocess.Popen(command, start_new_session=True, env=dict(env or os.environ))
        session = Session(process, ours)
        try:
            yield session
            session.end()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(ours)
            os.close(theirs)


@pytest.fixture
def terminal() -> Terminal:
    """Give a way to run programs on a terminal."""
    return Terminal()

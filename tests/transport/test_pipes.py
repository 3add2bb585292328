"""Commands behind pipes do not outlive us, and their numbers are not mixed up."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bundler.errors import CommandFailed, ToolMissing, TransferFailed
from bundler.transport.limiter import Limiter
from bundler.transport.local import LocalTransport
from bundler.transport.port import Endpoint

HERE = Endpoint(name="here", address="")
VICTIM = """
import os, signal
from bundler.transport.limiter import Limiter
from bundler.transport.local import LocalTransport
from bundler.transport.port import Endpoint
channel = LocalTransport(Endpoint(name="here", address=""), Limiter(0)).open(["sh", "-c", "echo $$; exec sleep 600"])
print(channel.line().decode(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killing_us_ends_the_command() -> None:
    """After kill -9 of the process that talks to it, a command is ended too."""
    done = subprocess.run([sys.executable, "-c", VICTIM], capture_output=True, text=True, check=False)

    pid = int(done.stdout)
    while Path(f"/proc/{pid}").exists() and "sleep" in Path(f"/proc/{pid}/cmdline").read_text():
        threading.Event().wait(0.01)
    assert done.returncode == -9


def test_sending_after_the_end(tmp_path: Path) -> None:
    """What is sent after stdin was closed does not vanish."""
    transport = LocalTransport(HERE, Limiter(0))
    channel = transport.open(["cat"])
    channel.end()

    with pytest.raises(TransferFailed):
        channel.send(b"lost")

    transport.close()


def test_what_cannot_be_started() -> None:
    """A missing program, or one that the system refuses, is known at once."""
    transport = LocalTransport(HERE, Limiter(0))

    with pytest.raises(ToolMissing, match="no-such-program"):
        transport.open(["no-such-program"])
    with pytest.raises(CommandFailed, match="cannot start"):
        transport.open(["sh", "-c", "x" * 200_000])

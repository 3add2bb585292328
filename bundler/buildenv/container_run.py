"""Runs a command in a container that ends with it, with its time, and with this process, however that ends."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bundler.buildenv.container_engine import Box, Engine
from bundler.buildenv.environment import BUILD_ROOT
from bundler.process import Command, run


def enter(engine: Engine, box: Box, argv: Sequence[str], *, timeout: float, log: Path | None = None) -> str:
    """Run ``argv`` in ``box`` and return what it printed, nothing where ``log`` took that.

    Raises:
        CommandFailed: The engine, or the command, ended with another status than 0, or the time was up.
    """
    with _lifeline(box.workspace) as pipe:
        return run(Command(argv=engine.line(box, pipe, argv)), log=log, timeout=timeout).text


@contextmanager
def _lifeline(workspace: Path) -> Iterator[str]:
    """Make a pipe that the container's first process waits at: what we write, or our end, is its end."""
    name = f".end-{secrets.token_hex(8)}"
    path = workspace / name
    os.mkfifo(path, 0o600)
    # Opened for reading too, so that neither side ever waits for the other.
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield str(BUILD_ROOT / name)
    finally:
        # A process forked from us may have the pipe open as well, so that its end alone would not be seen.
        os.write(descriptor, b"\n")
        os.close(descriptor)
        with suppress(OSError):
            path.unlink()

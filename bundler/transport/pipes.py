"""A channel over the pipes of a process on this host, which may be the command itself or an ssh client."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import IO

from bundler import process
from bundler.errors import TransferFailed
from bundler.transport.buffers import PIECE, Lines, Tail
from bundler.transport.limiter import Limiter
from bundler.transport.port import Ended

#: How much a pipe may hold: 64 KiB, as it comes, wakes both ends too often.
_PIPE_SIZE = 1024 * 1024
#: How long a command that lost its stdin may take to end by itself.
_GRACE = 1.0
#: How long a client may take from the end of its output to its own.
_ENDING = 1.0


class PipeChannel:
    """Runs ``argv``. ``lost`` says, from a status, whether it means that the connection is gone."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        label: str,
        patience: float,
        limiter: Limiter,
        lost: Callable[[int], bool] = lambda _status: False,
    ) -> None:
        self._label = label
        self._patience = patience
        self._limiter = limiter
        self._lost = lost
        self._process = process.start(process.Command(argv=argv))
        self._stdin = self._own(self._process.stdin)
        self._stdout = self._own(self._process.stdout)
        self._over = False
        self._lines = Lines(label, self._more)
        self._said = Tail()
        self._listener = threading.Thread(target=_listen, args=(self._process.stderr, self._said), daemon=True)
        self._listener.start()

    def send(self, data: bytes) -> None:
        """Write all of ``data`` to stdin."""
        view = memoryview(data)
        while view:
            piece = view[:PIECE]
            self._limiter.take(len(piece))
            self._write(piece)
            view = view[PIECE:]

    def end(self) -> None:
        """Close stdin."""
        self._over = True
        _let_go(self._stdin)

    def line(self) -> bytes:
        """Return the next line of stdout."""
        return self._lines.line()

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes of stdout."""
        return self._lines.read(size)

    def finish(self) -> Ended:
        """Close stdin, drop what is left of stdout, wait for the end."""
        self.end()
        self._lines.drop()
        try:
            status = self._process.wait(self._patience)
        except process.TIMEOUT as error:
            self.close()
            raise self._stuck() from error
        self._listener.join(_ENDING)
        self.close()
        if self._lost(status):
            raise self._cut()
        return Ended(status=status if status >= 0 else 128 - status, stderr=self._said.text)

    def close(self) -> None:
        """Close the pipes; the process is ended if that is not enough."""
        self.end()
        _let_go(self._stdout)
        process.stop(self._process, patience=_GRACE)

    def _own(self, stream: IO[bytes] | None) -> int:
        """Make our end of a pipe large, and such that writing never blocks: waiting is done with a limit."""
        with _must(stream) as given:
            number = os.dup(given.fileno())
        weakref.finalize(self, os.close, number)
        os.set_blocking(number, False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        return number

    def _write(self, view: memoryview) -> None:
        while view:
            self._await(self._stdin, select.POLLOUT)
            if self._over:
                raise TransferFailed(f"{self._label}: the command was given up")
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:  # less room than the smallest write
                continue
            except OSError as error:
                raise self._gone() from error

    def _more(self) -> bytes:
        self._await(self._stdout, select.POLLIN)
        data = os.read(self._stdout, PIECE)
        if not data:
            self._check_end()
        return data

    def _check_end(self) -> None:
        """Tell the end of the command's output from the end of the connection."""
        with contextlib.suppress(process.TIMEOUT):
            if self._lost(self._process.wait(_ENDING)):
                raise self._cut()

    def _await(self, stream: int, event: int) -> None:
        poll = select.poll()
        poll.register(stream, event)
        if not poll.poll(self._patience * 1000):
            raise self._stuck()

    def _gone(self) -> TransferFailed:
        self._listener.join(_ENDING)
        with contextlib.suppress(process.TIMEOUT):
            if self._lost(self._process.wait(_ENDING)):
                return self._cut()
        return TransferFailed(f"{self._label}: the command ended before it had read all: {self._said.text}")

    def _cut(self) -> TransferFailed:
        return TransferFailed(f"{self._label}: the connection was cut")

    def _stuck(self) -> TransferFailed:
        return TransferFailed(f"{self._label}: nothing moved for {self._patience:g} s")


class Background:
    """A command that runs for the sake of others, such as the ssh client that holds a connection."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._process = process.start(process.Command(argv=argv))
        self._tail = Tail()
        self._listener = threading.Thread(target=_listen, args=(self._process.stderr, self._tail), daemon=True)
        self._listener.start()

    @property
    def said(self) -> str:
        """Return the last of its stderr."""
        return self._tail.text

    def ended(self, patience: float) -> bool:
        """Say whether it ends within ``patience`` seconds; then all it said is known."""
        try:
            self._process.wait(patience)
        except process.TIMEOUT:
            return False
        self._listener.join(_ENDING)
        return True

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        process.stop(self._process, patience=_ENDING)
        self._listener.join(_ENDING)
        _must(self._process.stdin).close()
        _must(self._process.stdout).close()


def _listen(stream: IO[bytes] | None, tail: Tail) -> None:
    """Take what a process says on stderr: nobody else does, and it must not wait for that."""
    with contextlib.suppress(OSError, ValueError), _must(stream) as open_stream:
        while data := os.read(open_stream.fileno(), PIECE):
            tail.add(data)


def _let_go(number: int) -> None:
    """Close our end of a pipe but keep its number taken: another thread may be about to use it."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, number, inheritable=False)
    os.close(null)


def _must(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process was started without pipes")
    return stream

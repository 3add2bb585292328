"""A channel of the paramiko driver."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import paramiko

from bundler.errors import TransferFailed
from bundler.transport.buffers import PIECE, Lines, Tail
from bundler.transport.limiter import Limiter
from bundler.transport.port import Ended

#: The largest piece that sshd takes in one packet; longer ones are only copied more often.
_PACKET = 32 * 1024 - 64
#: How long what a command said last may take to come after its end.
_ENDING = 1.0
#: The status of a command that a signal ended: ssh does not give a number.
_BY_SIGNAL = 255


class SshChannel:
    """A command on a connection. ``why`` says what is known of the reason when the connection is gone."""

    def __init__(
        self, channel: paramiko.Channel, *, label: str, patience: float, limiter: Limiter, why: Callable[[], str]
    ) -> None:
        self._channel = channel
        self._label = label
        self._patience = patience
        self._limiter = limiter
        self._why = why
        self._lines = Lines(label, self._more)
        self._said = Tail()
        channel.settimeout(patience)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def send(self, data: bytes) -> None:
        """Write all of ``data`` to stdin."""
        for begin in range(0, len(data), _PACKET):
            piece = data[begin : begin + _PACKET]
            self._limiter.take(len(piece))
            while piece:
                piece = piece[self._send(piece) :]

    def end(self) -> None:
        """Close stdin."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()

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
        if not self._channel.status_event.wait(self._patience):
            raise self._stuck()
        status = self._channel.exit_status
        self._listener.join(_ENDING)
        self.close()
        if status < 0:
            if self._why():
                raise self._cut()
            status = _BY_SIGNAL
        return Ended(status=status, stderr=self._said.text)

    def close(self) -> None:
        """Give it up."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()

    def _send(self, piece: bytes) -> int:
        try:
            sent = self._channel.send(piece)
        except TimeoutError as error:
            raise self._stuck() from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._gone() from error
        if not sent:
            raise self._gone()
        return sent

    def _more(self) -> bytes:
        try:
            data = self._channel.recv(PIECE)
        except TimeoutError as error:
            raise self._stuck() from error
        if not data and not self._channel.eof_received and self._channel.exit_status < 0:
            raise self._cut()
        return data

    def _listen(self) -> None:
        """Take what it says on stderr: nobody else does, and a full window would stop it."""
        while True:
            with contextlib.suppress(TimeoutError):
                if not (data := self._channel.recv_stderr(PIECE)):
                    return
                self._said.add(data)

    def _gone(self) -> TransferFailed:
        if self._why():
            return self._cut()
        self._listener.join(_ENDING)
        return TransferFailed(f"{self._label}: the command ended before it had read all: {self._said.text}")

    def _cut(self) -> TransferFailed:
        return TransferFailed(f"{self._label}: the connection was cut: {self._why() or 'without a word'}")

    def _stuck(self) -> TransferFailed:
        return TransferFailed(f"{self._label}: nothing moved for {self._patience:g} s")

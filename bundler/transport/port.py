"""The port: a connection to a host, on which commands run whose input and output are byte streams.

Every driver passes the same tests (tests/transport). Nothing is interpreted on the way: an argument arrives as it
was given, whatever characters it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

#: Seconds in which nothing moves on a channel before it is given up: a far end may hash for minutes without a word.
#: A host that is gone is noticed much sooner, by keepalive.
PATIENCE = 900.0


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Whom to connect to: ``name`` for messages, then address, port and user."""

    name: str
    address: str
    port: int = 22
    user: str = "root"
    identity: str = ""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a far-end command ended: its status, and the last of what it said on stderr."""

    status: int
    stderr: str


class Channel(Protocol):
    """A running far-end command. One thread writes and one reads; both may be the same.

    Every method raises TransferFailed where the connection is cut or nothing moves for too long.
    """

    def send(self, data: bytes) -> None:
        """Write to the command's stdin, all of it."""

    def end(self) -> None:
        """Close the command's stdin."""

    def line(self) -> bytes:
        """Return the next line of its stdout without the newline; TransferFailed at its end."""

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes of its stdout, at least one; empty at its end."""

    def finish(self) -> Ended:
        """Close stdin, wait for the end and return how it ended; what is left of stdout is dropped."""

    def close(self) -> None:
        """Give it up: the far end sees its stdin closed."""


class Transport(Protocol):
    """A connection."""

    @property
    def label(self) -> str:
        """Return what messages call the host."""

    def open(self, argv: Sequence[str]) -> Channel:
        """Run a command with exactly these arguments, found on the far end's PATH."""

    def close(self) -> None:
        """End the connection and every command on it."""

"""A conversation with the script on a repo host: requests and replies over one channel.

A request is a line ``VERB ARGUMENT …``; the reply is lines ``=data``, then ``ok`` or ``no STATUS MESSAGE``. Bytes may
follow a request, and ``#DIGEST SIZE`` lines with bytes may stand in a reply. The script is sent first, unless the far
end has it and runs nothing else (sshd's ForceCommand).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bundler import errors
from bundler.errors import BundlerError, HostRefused, TransferFailed
from bundler.repohost.port import PROTOCOL
from bundler.repohost.script import short_text
from bundler.transport.port import Channel, Transport

Role: TypeAlias = Literal["both", "push", "admit"]
_BOOT = 'script=$(head -c "$1") && shift && eval "$script"'
_WORD = re.compile(r"[!-~]+")
_PIECE = 1 << 18
_GREETING = f"bundle-repo {PROTOCOL}"


@dataclass(frozen=True, kw_only=True)
class WireOptions:
    """Where and as whom the far end works. Empty ``trust`` and ``inbox`` are below ``<root>/.bundles``.

    ``command``: what the login is restricted to; its own command line has all options then.
    """

    root: str
    owner: str = "root"
    group: str = "root"
    trust: str = ""
    inbox: str = ""
    command: str = ""
    role: Role = "both"


class Wire:
    """One conversation. One request at a time."""

    def __init__(self, channel: Channel, label: str) -> None:
        self.label = label
        #: Bytes sent to the far end so far.
        self.sent = 0
        self._channel = channel

    def ask(self, verb: str, *arguments: str) -> list[str]:
        """Make one request and return the lines of its reply.

        Raises:
            HostRefused: The far end refused; another class where its status is that of one.
            TransferFailed: The connection was cut.
        """
        self.begin(verb, *arguments)
        return self.reply()

    def begin(self, verb: str, *arguments: str) -> None:
        """Begin a request whose bytes follow by :meth:`send`."""
        for word in (verb, *arguments):
            if _WORD.fullmatch(word) is None:
                raise HostRefused(f"{self.label}: {word!r} cannot be part of a request")
        self.send(f"{' '.join((verb, *arguments))}\n".encode())

    def send(self, data: bytes) -> None:
        """Send bytes that belong to the request.

        Raises:
            BundlerError: What the far end said before it hung up, else TransferFailed.
        """
        try:
            self._channel.send(data)
        except TransferFailed as error:
            raise self._last_word() or error from error
        self.sent += len(data)

    def reply(self) -> list[str]:
        """Return the lines of the reply.

        Raises:
            HostRefused, TransferFailed: As :meth:`ask`.
        """
        lines: list[str] = []
        while (line := self._line()) != "ok":
            if not line.startswith("="):
                raise self._error(line)
            lines.append(line[1:])
        return lines

    def fetch(self, verb: str, *arguments: str) -> Iterator[tuple[str, int, Iterator[bytes]]]:
        """Make a request whose reply is blobs: yield digest, size and bytes of each; take all bytes of one first."""
        self.begin(verb, *arguments)
        while (line := self._line()) != "ok":
            digest, _, size = line[1:].partition(" ")
            if not line.startswith("#") or not size.isdecimal():
                raise self._error(line)
            yield digest, int(size), self._bytes(int(size))

    def close(self) -> None:
        """End the conversation and wait for the far end to leave.

        Raises:
            TransferFailed: It was cut before.
        """
        self._channel.finish()

    def greet(self) -> None:
        """Read the greeting.

        Raises:
            HostRefused: The far end says something else.
        """
        try:
            line = self._line()
        except TransferFailed as error:
            said = self._channel.finish().stderr.strip()
            if not said:
                raise
            raise HostRefused(
                f"{self.label}: {said.splitlines()[-1]}", hint="the far end needs sh and GNU coreutils"
            ) from error
        if line.startswith("no "):
            raise self._error(line)
        if line != _GREETING:
            raise HostRefused(
                f"{self.label}: greets with {line[:80]!r} instead of {_GREETING!r}",
                hint="does a login script print something? is the installed bundle-repo of another version?",
            )

    def _line(self) -> str:
        return self._channel.line().decode("utf-8", "replace")

    def _bytes(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self._channel.read(min(left, _PIECE))
            if not piece:
                raise TransferFailed(f"{self.label}: the connection was cut")
            left -= len(piece)
            yield piece

    def _last_word(self) -> BundlerError | None:
        """Return why the far end hung up, where it said so."""
        try:
            while (line := self._line()).startswith("="):
                pass
        except BundlerError:
            return None
        return self._error(line) if line.startswith("no ") else None

    def _error(self, line: str) -> BundlerError:
        word, _, rest = line.partition(" ")
        status, _, message = rest.partition(" ")
        if word != "no" or not status.isdecimal():
            return HostRefused(f"{self.label}: said {line[:80]!r}", hint="that is no answer of ours")
        return _rule(int(status))(f"{self.label}: {message}", hint=_HINTS.get(int(status), ""))


_HINTS = {
    64: "a rerun sends what is missing",
    74: "see docs/guide/ssh.md: separate logins",
    88: "another run is at work there; try again when it has ended",
}


def _rule(status: int) -> type[BundlerError]:
    """Return the class of error with this exit code; HostRefused if there is none of that kind."""
    known = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BundlerError)]
    return next((rule for rule in known if rule.exit_code == status and status not in (1, 2, 91)), HostRefused)


def open_wire(transport: Transport, options: WireOptions) -> Wire:
    """Begin a conversation.

    Raises:
        HostRefused: The far end does not understand.
        TransferFailed: The connection was cut.
    """
    if "\n" in options.root or not options.root.startswith("/"):
        raise HostRefused(
            f"{transport.label}: {options.root!r} cannot be a root", hint="an absolute path of one line"
        )
    if options.command:
        wire = Wire(transport.open(shlex.split(options.command)), transport.label)
    else:
        script = short_text().encode("utf-8")
        argv = [
            "sh", "-c", _BOOT, "bundle-repo", str(len(script)), options.root, options.owner, options.group,
            options.role, options.trust, options.inbox,
        ]  # fmt: skip
        wire = Wire(transport.open(argv), transport.label)
        wire.send(script)
    wire.greet()
    return wire

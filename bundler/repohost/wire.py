"""A conversation with the script on a repo host: requests and replies over one channel.

A request is a line ``VERB ARGUMENT …``; the reply is lines ``=data``, then ``ok`` or ``no STATUS MESSAGE``. Bytes may
follow a request, and ``#DIGEST SIZE`` lines with bytes may stand in a reply. The script is sent first, unless the far
end has it and runs nothing else (sshd's ForceCommand).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
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
#: Of the longest number that a size may be: what the script can count with.
MAX_DIGITS = 16
_GREETING = f"bundle-repo {PROTOCOL}"
#: What the greeting ends with where the far end has GNU tar.
_TAR = " tar"


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The most that a reply may be: lines, and bytes of them all."""

    lines: int
    size: int


#: Of a reply that has a line for every file or blob of a host.
ANY = Bounds(lines=500_000, size=64 << 20)


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
        #: Whether blobs may come as tar archives: it has GNU tar.
        self.tar = False
        self._channel = channel

    def ask(self, verb: str, *arguments: str, bounds: Bounds = ANY) -> list[str]:
        """Make one request and return the lines of its reply.

        Raises:
            HostRefused: The far end refused; another class where its status is that of one. Or it says too much.
            TransferFailed: The connection was cut.
        """
        self.begin(verb, *arguments)
        return self.reply(bounds)

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

    def reply(self, bounds: Bounds = ANY) -> list[str]:
        """Return the lines of the reply.

        Raises:
            HostRefused, TransferFailed: As :meth:`ask`.
        """
        lines: list[str] = []
        left = bounds.size
        while (line := self._line()) != "ok":
            if not line.startswith("="):
                raise self._error(line)
            left -= len(line)
            if left < 0 or len(lines) == bounds.lines:
                raise self._given_up(f"answers with more than {bounds.lines} lines or {bounds.size} bytes")
            lines.append(line[1:])
        return lines

    def fetch(
        self, verb: str, *arguments: str, due: Callable[[str, int], bool]
    ) -> Iterator[tuple[str, int, Iterator[bytes]]]:
        """Make a request whose reply is blobs: yield name, size and bytes of each; take all bytes of one first.

        ``due`` says whether one of this name and size may come now.

        Raises:
            HostRefused: As :meth:`ask`; or what comes is not due.
            TransferFailed: The connection was cut.
        """
        self.begin(verb, *arguments)
        left = ANY.lines
        while (line := self._line()) != "ok":
            name, _, size = line[1:].partition(" ")
            if not line.startswith("#") or not size.isdecimal():
                raise self._error(line)
            left -= 1
            if left < 0 or len(size) > MAX_DIGITS or not due(name, int(size)):
                raise self._given_up(
                    f"offers {size[:80]} bytes as {name[:80]!r}, which are not those that were signed"
                )
            yield name, int(size), self._bytes(int(size))

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
        self.tar = line == _GREETING + _TAR
        if not self.tar and line != _GREETING:
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

    def _given_up(self, why: str) -> HostRefused:
        """End the conversation: what still comes belongs to no request."""
        self._channel.close()
        return HostRefused(
            f"{self.label}: {why}", hint="that is no answer of ours: find out what answers there before you go on"
        )

    def _last_word(self) -> BundlerError | None:
        """Return why the far end hung up, where it said so."""
        try:
            for _ in range(ANY.lines):
                if not (line := self._line()).startswith("="):
                    return self._error(line) if line.startswith("no ") else None
        except BundlerError:
            pass
        return None

    def _error(self, line: str) -> BundlerError:
        word, _, rest = line.partition(" ")
        status, _, message = rest.partition(" ")
        if word != "no" or not status.isdecimal():
            return HostRefused(f"{self.label}: said {line[:80]!r}", hint="that is no answer of ours")
        return _rule(int(status))(f"{self.label}: {message}", hint=_HINTS.get(int(status), ""))


_HINTS = {
    2: "is a script installed there, of another version? bundle-install site host-script prints the one to have",
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
        script = short_text(options.role).encode("utf-8")
        argv = [
            "sh", "-c", _BOOT, "bundle-repo", str(len(script)), options.root, options.owner, options.group,
            options.role, options.trust, options.inbox,
        ]  # fmt: skip
        wire = Wire(transport.open(argv), transport.label)
        wire.send(script)
    wire.greet()
    return wire

"""What every driver does, over a real sshd and a real shell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from bundler.errors import TransferFailed
from bundler.transport.limiter import Limiter
from bundler.transport.port import Channel, Transport
from tests.transport.conftest import DRIVERS, Way

MIB = 1024 * 1024
HOSTILE = (
    "",
    " ",
    "two words",
    "'",
    '"',
    "$HOME",
    "`id`",
    "$(id)",
    "a\nb",
    "\n",
    "back\\slash",
    "*",
    "~",
    "!!",
    "#",
    ";",
    "&",
    "|",
    "--help",
    "-",
    "\t",
    "ümläut-日本",
    "\udcff",
    "\x01\x7f",
    "a'b\"c$d`e",
    "%h",
    "{a,b}",
    "A=b",
)
pytestmark = pytest.mark.parametrize("way", DRIVERS, indirect=True)


def output(channel: Channel) -> bytes:
    channel.end()
    said = bytearray()
    while data := channel.read(65536):
        said += data
    return bytes(said)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_arguments_arrive_as_they_were_given(host: Transport) -> None:
    """Whatever characters an argument has, the command gets exactly these."""
    channel = host.open(["printf", "%s\\0", *HOSTILE])

    said = output(channel)

    assert said == b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in HOSTILE)


@pytest.mark.parametrize("word", ["if", "echo", "A=b"])
def test_a_command_is_a_program_and_no_word_of_the_shell(host: Transport, word: str) -> None:
    """The first argument is looked up on PATH, even where the shell has something of that name."""
    channel = host.open(["env", "--", "sh", "-c", 'printf %s "$0"', word])

    assert output(channel) == word.encode()


def test_stdin_stdout_status_and_stderr(host: Transport) -> None:
    """What is sent arrives, what is said comes back, and the end is known with what was said on stderr."""
    channel = host.open(["sh", "-c", "cat; echo sorry >&2; exit 3"])

    channel.send(b"one\ntwo\nrest")

    assert (channel.line(), channel.line()) == (b"one", b"two")
    channel.end()
    assert channel.read(100) == b"rest"
    assert channel.read(100) == b""
    ended = channel.finish()
    assert (ended.status, ended.stderr) == (3, "sorry")


def test_question_and_answer(host: Transport) -> None:
    """Each line that is sent is answered before the next: nothing waits in a buffer."""
    channel = host.open(["sh", "-c", 'while read -r word; do echo "got $word"; done'])

    answers = []
    for number in range(20):
        channel.send(f"{number}\n".encode())
        answers.append(channel.line())

    assert answers == [f"got {number}".encode() for number in range(20)]
    assert channel.finish().status == 0


@pytest.mark.parametrize("status", [0, 1, 127, 255])
def test_every_status_is_the_commands_own(host: Transport, status: int) -> None:
    """255 is a status like others, though ssh uses it for its own failures."""
    channel = host.open(["sh", "-c", f"exit {status}"])

    assert channel.finish().status == status


def test_end_by_a_signal_is_a_failure(host: Transport) -> None:
    """A command that a signal ended has a status that is not 0."""
    channel = host.open(["sh", "-c", "kill -9 $$"])

    assert channel.finish().status != 0


def test_a_line_that_never_ends_is_refused(host: Transport) -> None:
    """A far end cannot fill the memory with one line."""
    channel = host.open(["head", "-c", str(4 * MIB), "/dev/zero"])

    with pytest.raises(TransferFailed, match="line of more than"):
        channel.line()
    channel.close()


def test_end_instead_of_a_line(host: Transport) -> None:
    """Where a line is due and the output ends, that is a failed transfer."""
    channel = host.open(["printf", "half a line"])

    with pytest.raises(TransferFailed, match="repo1: ended in the middle"):
        channel.line()


def test_much_stderr_stops_nothing(host: Transport) -> None:
    """Megabytes on stderr do not hold the command up, and only the last of it is kept."""
    channel = host.open(["sh", "-c", "head -c 8000000 /dev/zero | tr '\\0' x >&2; echo end >&2; echo done"])

    assert channel.line() == b"done"
    ended = channel.finish()
    assert ended.stderr.endswith("end")
    assert len(ended.stderr) < 10_000


def test_command_that_does_not_read_all(host: Transport) -> None:
    """Sending to a command that has ended fails, and what it said is in the message and still to be read."""
    channel = host.open(["sh", "-c", "echo no; echo full >&2; exit 1"])

    with pytest.raises(TransferFailed, match="ended before it had read all: full"):
        channel.send(bytes(64 * MIB))

    assert channel.line() == b"no"
    assert channel.finish().status == 1


@pytest.mark.slow
def test_two_hundred_megabytes_both_ways_in_little_memory(host: Transport, resident: Callable[[], int]) -> None:
    """What goes through a channel is not kept."""
    channel = host.open(["cat"])
    before, most, received = resident(), 0, 0
    block = bytes(MIB)

    def send() -> None:
        for _ in range(200):
            channel.send(block)
        channel.end()

    sender = in_thread(send)
    while data := channel.read(MIB):
        received += len(data)
        most = max(most, resident())
    sender.join()

    assert received == 200 * MIB
    assert most - before < 64 * MIB
    assert channel.finish().status == 0


def test_slow_reader_holds_the_far_end_back(host: Transport, resident: Callable[[], int]) -> None:
    """Who does not read gets no flood: what is sent ahead is bounded."""
    channel = host.open(["head", "-c", str(100 * MIB), "/dev/zero"])
    before = resident()

    first = channel.read(1)
    threading.Event().wait(0.3)
    held = resident() - before

    assert first == b"\0"
    assert held < 32 * MIB
    assert 1 + len(output(channel)) == 100 * MIB


def test_many_channels_at_once(host: Transport) -> None:
    """Commands on one connection do not disturb each other."""
    channels = [host.open(["cat"]) for _ in range(20)]

    for number, channel in enumerate(channels):
        channel.send(f"{number}\n".encode())
    answers = [channel.line() for channel in reversed(channels)]

    assert answers == [str(number).encode() for number in reversed(range(20))]
    assert [channel.finish().status for channel in channels] == [0] * 20


def test_closing_a_channel_closes_its_stdin(host: Transport) -> None:
    """A command that is given up sees the end of its input, and the connection goes on."""
    channel = host.open(["cat"])
    channel.send(b"begun\n")
    assert channel.line() == b"begun"

    channel.close()

    assert output(host.open(["echo", "on"])) == b"on\n"


def test_nothing_moves(way: Way) -> None:
    """A command that says nothing for too long, or takes nothing, is a failed transfer."""
    transport = way.impatient(0.3)
    silent, deaf = transport.open(["sleep", "60"]), transport.open(["sleep", "60"])

    with pytest.raises(TransferFailed, match=r"nothing moved for 0\.3 s"):
        silent.line()
    with pytest.raises(TransferFailed, match=r"nothing moved for 0\.3 s"):
        deaf.send(bytes(64 * MIB))

    silent.close()
    deaf.close()
    transport.close()


def test_the_limiter_is_asked_for_every_byte(way: Way) -> None:
    """All that is sent counts against the limit that the hosts share."""
    asked: list[int] = []

    class Counter(Limiter):
        def take(self, size: int) -> None:
            asked.append(size)

    transport = way.connect(Counter(1))
    channel = transport.open(["cat"])
    channel.send(bytes(1_000_000))
    channel.end()

    assert len(output(channel)) == sum(asked) == 1_000_000
    transport.close()


def test_closing_the_connection_ends_what_waits(way: Way) -> None:
    """A thread that reads is released when another closes the connection."""
    transport = way.connect()
    channel = transport.open(["cat"])
    outcome: list[object] = []

    def read() -> None:
        try:
            outcome.append(channel.read(1))
        except (TransferFailed, OSError, ValueError) as error:
            outcome.append(error)

    reader = in_thread(read)
    transport.close()
    reader.join(20)

    assert not reader.is_alive()


def test_program_that_is_not_there(host: Transport, way: Way) -> None:
    """A missing program ends with 127, or is known at once on this host."""
    statuses: Sequence[int | str]
    try:
        statuses = [host.open(["no-such-program"]).finish().status]
    except Exception as error:  # noqa: BLE001 (which one is asserted below)
        statuses = [type(error).__name__]

    assert statuses == (["ToolMissing"] if way.transport == "local" else [127])

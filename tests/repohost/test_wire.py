"""The conversation: what is sent first, what counts as an answer, and logins that are restricted to one command."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bundler.errors import BundlerError, HostRefused, TransferFailed
from bundler.repohost.intake import blobs, look
from bundler.repohost.releases import fetch_blobs, fetch_signed
from bundler.repohost.script import full_text, short_text
from bundler.repohost.wire import Wire, WireOptions, open_wire
from bundler.transport.limiter import Limiter
from bundler.transport.local import LocalTransport
from bundler.transport.port import Endpoint
from tests.repohost.handmade import GROUP, OWNER
from tests.repohost.killer import ShellTransport
from tests.repohost.pushing import wired


def test_what_a_second_run_sends_is_small() -> None:
    """The script that starts a conversation stays below 52 kB, that of a login which only pushes below 12 kB."""
    assert len(short_text().encode()) <= 52_000
    assert len(short_text("push").encode()) <= 12_000


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("text", [full_text, short_text])
def test_the_script_parses(shell: str, text: object) -> None:
    """Both forms of the script are what both shells take."""
    assert callable(text)

    done = subprocess.run([shell, "-n"], input=text(), text=True, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("word", ["two words", "line\nend", "", "é"])
def test_a_request_is_words(root: Path, word: str) -> None:
    """What would be another request, or none, is refused before it is sent."""
    with wired(root) as wire, pytest.raises(HostRefused, match="cannot be part of a request"):
        wire.ask("hello", word)


@pytest.mark.parametrize("path", ["relative", "/two\nlines"])
def test_a_root_is_an_absolute_path_of_one_line(path: str) -> None:
    """Anything else is refused before the far end is asked."""
    with pytest.raises(HostRefused, match="cannot be a root"):
        open_wire(ShellTransport(), WireOptions(root=path))


@pytest.mark.parametrize(
    ("command", "rule", "said"),
    [
        ("echo Welcome", HostRefused, "greets with 'Welcome'"),
        ("echo bundle-repo 2", HostRefused, "of another version"),
        ("sh -c 'echo nothing here >&2; exit 1'", HostRefused, "nothing here"),
        ("true", TransferFailed, ""),
        ("echo no 88 wait", BundlerError, "wait"),
    ],
)
def test_another_far_end_is_not_talked_to(root: Path, command: str, rule: type[BundlerError], said: str) -> None:
    """A login that greets as something else, or not at all, is refused."""
    with pytest.raises(rule) as caught, wired(root, command=command):
        pass

    assert said in f"{caught.value} {caught.value.hint}"


def test_a_login_restricted_to_the_script_ignores_what_it_is_asked_to_run(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options of its own command line count; SSH_ORIGINAL_COMMAND and what would be sent do not."""
    script = tmp_path / "bundle-repo"
    script.write_text(full_text())
    evil = tmp_path / "evil"
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", f"touch {evil}")
    command = shlex.join(["sh", str(script), str(root), OWNER, GROUP, "push"])

    with wired(tmp_path / "ignored", command=command) as wire:
        facts = look(wire)
        with pytest.raises(HostRefused, match="not a request of role push"):
            wire.ask("activate", "demo-1-1")

    assert facts.trust == 0
    assert not evil.exists()


@contextmanager
def talker(script: str) -> Iterator[Wire]:
    """Talk with a far end that greets, takes one request and says what ``script`` prints."""
    transport = LocalTransport(Endpoint(name="here", address=""), Limiter(0))
    command = shlex.join(["sh", "-c", f"echo bundle-repo 1; read -r request; {script}"])
    try:
        yield open_wire(transport, WireOptions(root="/root", command=command))
    finally:
        transport.close()


def taken(fetched: Iterable[tuple[str, int, Iterator[bytes]]]) -> list[bytes]:
    return [b"".join(pieces) for _, _, pieces in fetched]


@pytest.mark.parametrize("line", ["=foreign x", "=foreign " + "x" * 100_000])
@pytest.mark.parametrize("ask", [look, blobs])
def test_an_answer_without_end(ask: Callable[[Wire], object], line: str) -> None:
    """A host that never stops answering is refused, and nothing else is asked of it."""
    with talker(f"yes '{line}'") as wire:
        with pytest.raises(HostRefused, match=r"here: answers with more than [0-9]+ lines or [0-9]+ bytes"):
            ask(wire)
        with pytest.raises(TransferFailed):
            wire.ask("hello")


@pytest.mark.parametrize(
    ("said", "sizes"),
    [
        ("echo '#one 6'; head -c 6 /dev/zero", {"one": 5}),
        ("echo '#one 4'; head -c 4 /dev/zero", {"one": 5}),
        ("echo '#two 5'; head -c 5 /dev/zero", {"one": 5}),
        ("echo '#one 5'; head -c 5 /dev/zero; echo '#one 5'", {"one": 5}),
        (f"echo '#one {10**16}'; cat /dev/zero", {"one": None}),
        (f"echo '#one {10**400}'", {"one": None}),
    ],
)
def test_other_blobs_than_those_that_are_due(said: str, sizes: dict[str, int | None]) -> None:
    """A blob that was not asked for, comes twice or has not its signed size is refused before its bytes are taken."""
    with talker(f"{said}; echo ok") as wire, pytest.raises(HostRefused, match=r"here: offers [0-9]+ bytes as '"):
        taken(fetch_blobs(wire, sizes))


def test_a_signed_part_without_end() -> None:
    """Neither many files nor large ones of a release's signed part fill the memory here."""
    with talker("yes '#name 0'") as wire, pytest.raises(HostRefused, match="'name'"):
        fetch_signed(wire, "demo-1-1")
    with talker("echo '#name 99999999999'; cat /dev/zero") as wire, pytest.raises(HostRefused, match="99999999999"):
        fetch_signed(wire, "demo-1-1")


def test_last_words_without_end() -> None:
    """Who hangs up and goes on talking is heard out for a while only."""
    with talker("exec <&-; yes '=x'") as wire:
        wire.begin("receive", "demo-1-1", "1")
        with pytest.raises(TransferFailed):
            wire.send(bytes(16 << 20))

"""The one place that runs commands.

A command is data: an argument list, an environment, secrets to redact. stdout and stderr are drained together;
no shell is ever involved in it.

No command outlives us. On a signal :func:`end_children` ends what runs; after kill -9 a watchdog does, a shell that
waits for the end of a pipe from us. (PR_SET_PDEATHSIG would need code between fork and exec, which is not safe with
threads, and would not reach what our children start.)
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import shlex
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bundler.errors import CommandFailed, SpaceError, ToolMissing

#: Debian packages that bring a tool, for the hint of :class:`ToolMissing`.
PACKAGES = {
    "bwrap": "bubblewrap",
    "cc": "build-essential",
    "gcc": "build-essential",
    "git": "git",
    "ssh": "openssh-client",
    "ssh-add": "openssh-client",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
    "zstd": "zstd",
}
#: How a program says that the disk is full (strerror of ENOSPC; children run without translations).
_FULL = b"No space left on device"

#: What waiting for a started command raises.
TIMEOUT = subprocess.TimeoutExpired

_T = TypeVar("_T")
#: A pipe holds a page at the least.
_TOKEN, _TOKENS = struct.Struct("=I"), 1024

#: Running children, so that a signal can end them all.
_children: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run. ``env`` is the whole environment (``None``: ours); ``secrets`` never reach a message.

    With ``terminal`` the command has our terminal, stdin and stderr to itself, so that it can ask for a passphrase
    or a PIN, and ``stdin`` is not used: emit nothing while it runs.
    """

    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    stdin: bytes = b""
    terminal: bool = False
    secrets: Sequence[str] = field(default=(), repr=False)

    def __str__(self) -> str:
        return shlex.join(redact(word, self.secrets) for word in self.argv)


@dataclass(frozen=True, kw_only=True)
class Completed:
    """How a command ended; ``output`` is empty where a log file took it."""

    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Return stdout as text."""
        return self.stdout.decode("utf-8", "replace")


def redact(text: str, secrets: Sequence[str]) -> str:
    """Return ``text`` with every secret replaced by ``***``, the longest first: one may be part of another."""
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "***")
    return text


def which(tool: str) -> str:
    """Return the path of ``tool``.

    Raises:
        ToolMissing: It is not on PATH; the hint names the Debian package.
    """
    found = shutil.which(tool)
    if found is None:
        package = PACKAGES.get(tool, tool)
        raise ToolMissing(f"{tool} is not installed", hint=f"apt-get install {package}")
    return found


def run(command: Command, *, check: bool = True, log: Path | None = None, timeout: float | None = None) -> Completed:
    """Run ``command`` to its end, in its own session so that a time-out ends its children too.

    With ``log``, stdout and stderr are written there together instead of being returned.

    Raises:
        ToolMissing: The program does not exist.
        CommandFailed: It cannot be started, the time was up, or, with ``check``, its status was not 0; ``output``
            holds what it said last.
        SpaceError: It failed because there is no space left.
    """
    _check_program(command)
    if log is None:
        return _finish(command, _communicate(command, subprocess.PIPE, timeout), check=check)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        done = _communicate(command, sink.fileno(), timeout)
    return _finish(command, done, check=check, log=log)


def start(command: Command) -> subprocess.Popen[bytes]:
    """Start a command whose pipes the caller serves while it runs, and ends with :func:`stop`.

    Raises:
        ToolMissing: The program does not exist.
        CommandFailed: It cannot be started.
    """
    _check_program(command)
    process = _start(command, subprocess.PIPE)
    _children.add(process)
    _watchdog.watch(process.pid)
    return process


def stop(process: subprocess.Popen[bytes], *, patience: float = 0) -> int:
    """Return the status of a started command, once more too; after ``patience`` seconds end it with its children."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        _end(process)
    finally:
        if process in _children:
            _watchdog.forget(process.pid)
            _children.discard(process)
    return process.returncode


def share_out(
    count: int, work: Callable[[Iterator[int]], _T], workers: int, aside: Callable[[], object] | None = None
) -> list[_T]:
    """Let ``work`` take the numbers below ``count``, each once, in several processes; return what each returns.

    A process takes the next number when it is done with one: where the longest come first, all end together.
    ``aside`` is done by one process more, if there are several.
    """
    if min(workers, count) <= 1:
        return [work(iter(range(count)))]
    # What fits into the smallest pipe: a token stands for several numbers where there are more.
    step = -(-count // _TOKENS)
    reader, writer = os.pipe()
    try:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(b"".join(_TOKEN.pack(start) for start in range(0, count, step)))

        def numbers() -> Iterator[int]:
            while token := os.read(reader, _TOKEN.size):
                (start,) = _TOKEN.unpack(token)
                yield from range(start, min(start + step, count))

        def part() -> _T:
            try:
                return work(numbers())
            except BaseException:
                # Nobody needs to go on.
                while os.read(reader, 1 << 12):
                    pass
                raise

        parts: list[Callable[[], Any]] = [part] * min(workers, count)
        return in_processes([*parts, aside] if aside else parts)[: len(parts)]
    finally:
        os.close(reader)


def in_processes(parts: Sequence[Callable[[], _T]]) -> list[_T]:
    """Run each part in a forked process of its own, for work that threads would only queue up for; wait for all.

    Returns what the parts return. What one raises is raised here, the first one's; a part that sees us die dies too.
    Parts share what was open and known before.

    Raises:
        CommandFailed: A part was killed.
    """
    running = [_fork(part) for part in parts]
    results: list[tuple[BaseException | None, Any]] = []
    try:
        for pid, reader in running:
            with os.fdopen(reader, "rb") as pipe:
                said = pipe.read()
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            results.append(_killed(status) if status else pickle.loads(said))  # noqa: S301 -- written by ourselves
    except BaseException:
        for pid, _ in running:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        raise
    for error, _ in results:
        if error is not None:
            raise error
    return [result for _, result in results]


def _killed(status: int) -> tuple[CommandFailed, None]:
    return CommandFailed(f"a worker ended with {status}", returncode=status), None


def _fork(part: Callable[[], _T]) -> tuple[int, int]:
    """Return the process, and where it says with what error it ended, or with what result."""
    parent = os.getpid()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    status = 1
    try:
        _die_with(parent)
        # What was there before stays; looking through it for garbage would copy its pages.
        gc.freeze()
        said = _outcome(part)
        with os.fdopen(writer, "wb", closefd=False) as pipe:
            pipe.write(said)
        status = 0
    finally:
        os._exit(status)


def _outcome(part: Callable[[], _T]) -> bytes:
    try:
        return pickle.dumps((None, part()))
    except BaseException as error:  # noqa: BLE001 -- the process ends here; who waits for it raises it
        return pickle.dumps((error, None))


def _die_with(parent: int) -> None:
    """Be killed when ``parent`` dies (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _check_program(command: Command) -> None:
    """Look where the command itself will be looked for: on its own PATH, or below its own directory."""
    program = command.argv[0]
    if os.sep in program:
        found = shutil.which((command.cwd or Path()) / program) is not None
    else:
        path = None if command.env is None else command.env.get("PATH", os.defpath)
        found = shutil.which(program, path=path) is not None
    if not found:
        raise ToolMissing(f"{program} is not installed", hint=f"apt-get install {PACKAGES.get(program, program)}")


def _start(command: Command, sink: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(command.argv),
            stdin=None if command.terminal else subprocess.PIPE,
            stdout=sink,
            stderr=_stderr(command, sink),
            cwd=command.cwd,
            env=None if command.env is None else dict(command.env),
            # Only the foreground of the terminal's own session may read from it.
            start_new_session=not command.terminal,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CommandFailed(f"cannot start {command}: {reason}", returncode=-1) from error


def _stderr(command: Command, sink: int) -> int | None:
    if command.terminal:
        return None
    return subprocess.PIPE if sink == subprocess.PIPE else subprocess.STDOUT


def _communicate(command: Command, sink: int, timeout: float | None) -> Completed:
    with _start(command, sink) as process:
        _children.add(process)
        _watchdog.watch(process.pid)
        try:
            out, err = process.communicate(None if command.terminal else command.stdin, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            _end(process)
            said = redact((error.stderr or error.output or b"").decode("utf-8", "replace"), command.secrets)
            raise CommandFailed(f"{command} took longer than {timeout:g} s", returncode=-1, output=said) from error
        except BaseException:
            _end(process)
            raise
        finally:
            _watchdog.forget(process.pid)
            _children.discard(process)
    return Completed(returncode=process.returncode, stdout=out or b"", stderr=err or b"")


def end_children() -> None:
    """End every running command and what it started."""
    for process in tuple(_children):
        _kill(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    _kill(process)
    process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has our terminal, and so no group of its own
        process.kill()


class _Watchdog:
    """A shell that ends the groups of our children once our end of its pipe is closed, however that came about."""

    _SCRIPT = """
    running=" "
    while read -r what pid; do
        case $what in
        +) running="$running$pid " ;;
        -) case $running in *" $pid "*) running="${running%% "$pid" *} ${running#* "$pid" }" ;; esac ;;
        esac
    done
    for pid in $running; do kill -s KILL -- "-$pid"; done
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipe = -1
        self._owner = -1

    def watch(self, pid: int) -> None:
        """End the group ``pid`` should we be killed."""
        self._say(f"+ {pid}\n")

    def forget(self, pid: int) -> None:
        """Leave the group alone: its leader has ended."""
        self._say(f"- {pid}\n")

    def _say(self, line: str) -> None:
        """Tell the shell; a command runs without it where it cannot be had."""
        with self._lock, contextlib.suppress(OSError):
            if self._owner != os.getpid():
                self._start()
            os.write(self._pipe, line.encode())

    def _start(self) -> None:
        """Start the shell in a session of its own, without our streams: it must not keep a pipeline open."""
        reader, self._pipe = os.pipe()
        self._owner = os.getpid()
        quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
        actions = [(os.POSIX_SPAWN_DUP2, reader, 0), *quiet]
        try:
            os.posix_spawn("/bin/sh", ["sh", "-c", self._SCRIPT], {}, file_actions=actions, setsid=True)
        finally:
            os.close(reader)


_watchdog = _Watchdog()


def _finish(command: Command, done: Completed, *, check: bool, log: Path | None = None) -> Completed:
    raw = b"" if done.returncode == 0 else tail(log) if log else (done.stderr or done.stdout)
    if _FULL in raw:
        line = next(line for line in raw.splitlines() if _FULL in line).decode("utf-8", "replace").strip()
        raise SpaceError(
            f"no space left while {command.argv[0]} ran: {redact(line, command.secrets)}",
            hint="free some, or point --store and --out elsewhere; a rerun goes on where it was",
        )
    if check and done.returncode != 0:
        output = redact(raw.decode("utf-8", "replace"), command.secrets)
        raise CommandFailed(
            f"{command.argv[0]} ended with status {done.returncode}: {command}",
            returncode=done.returncode,
            output=output,
        )
    return done


def tail(path: Path, size: int = 8192) -> bytes:
    """Return the last ``size`` bytes of the file at ``path``."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read(size)

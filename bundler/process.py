"""The one place that runs commands.

A command is data: an argument list, an environment, secrets to redact. stdout and stderr are drained together;
no shell is ever involved.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundler.errors import CommandFailed, ToolMissing

#: Debian packages that bring a tool, for the hint of :class:`ToolMissing`.
PACKAGES = {
    "bwrap": "bubblewrap",
    "cc": "build-essential",
    "gcc": "build-essential",
    "git": "git",
    "ssh-add": "openssh-client",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
    "zstd": "zstd",
}


#: Running children, so that a signal can end them all.
_children: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run. ``env`` is the whole environment (``None``: ours); ``secrets`` never reach a message."""

    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    stdin: bytes = b""
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
    """
    _check_program(command)
    if log is None:
        return _finish(command, _communicate(command, subprocess.PIPE, timeout), check=check)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        done = _communicate(command, sink.fileno(), timeout)
    return _finish(command, done, check=check, log=log)


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
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.PIPE if sink == subprocess.PIPE else subprocess.STDOUT,
            cwd=command.cwd,
            env=None if command.env is None else dict(command.env),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CommandFailed(f"cannot start {command}: {reason}", returncode=-1) from error


def _communicate(command: Command, sink: int, timeout: float | None) -> Completed:
    with _start(command, sink) as process:
        _children.add(process)
        try:
            out, err = process.communicate(command.stdin, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            _end(process)
            said = redact((error.stderr or error.output or b"").decode("utf-8", "replace"), command.secrets)
            raise CommandFailed(f"{command} took longer than {timeout:g} s", returncode=-1, output=said) from error
        except BaseException:
            _end(process)
            raise
        finally:
            _children.discard(process)
    return Completed(returncode=process.returncode, stdout=out or b"", stderr=err or b"")


def end_children() -> None:
    """End every running command and what it started."""
    for process in tuple(_children):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _finish(command: Command, done: Completed, *, check: bool, log: Path | None = None) -> Completed:
    if check and done.returncode != 0:
        raw = tail(log) if log else (done.stderr or done.stdout)
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

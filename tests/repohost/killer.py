"""Strikes a far-end shell at each of the commands that it runs, one after the other.

The shell finds its commands in a directory where every name is a wrapper: it counts, and at command number K it kills
the shell's whole process group, or fails as a full disk would. Builtins (printf, test, redirections) happen between
two commands, so that every state the disk can be in is met. The directory has what a bare repo host has and nothing
else: a script that needs grep or sed does not get far.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from bundler.errors import TransferFailed
from bundler.transport.port import Channel, Ended

#: ``kill``: SIGKILL before the command; ``amid``: while it runs; ``term``: SIGTERM before it; ``fail``: the command
#: does nothing and ends as on a full disk; ``error``: the same, as on a broken one.
Fault: TypeAlias = Literal["kill", "amid", "term", "fail", "error"]
#: POSIX sh, OpenSSH and GNU coreutils; and tar, which a far end uses where it is.
_NAMES = """
b2sum base32 base64 basename cat chgrp chmod chown cksum comm cp csplit cut date dd df dir dirname du env
expand expr factor fmt fold groups head hostid id install join link ln logname ls md5sum mkdir mkfifo mknod
mktemp mv nice nl nohup nproc numfmt od paste pathchk pinky pr printenv ptx readlink realpath rm rmdir seq
sha1sum sha256sum sha512sum shred shuf sleep sort split stat stdbuf stty sum sync tac tail tee timeout touch
tar tr truncate tsort tty uname unexpand uniq unlink uptime users vdir wc who whoami sh ssh-keygen
"""
_WRAPPER = """\
#!/bin/sh
name=${{0##*/}}
at={state}
if [ ! -e "$at/step" ]; then exec {tools}/"$name" "$@"; fi
printf x >>"$at/count"
read -r step fault <"$at/step"
read -r count <"$at/count"
if [ "${{#count}}" -ge "$step" ] && (set -C; printf '%s\\n' "$name" >"$at/hit") 2>/dev/null; then
    case $fault in
        kill) kill -KILL 0 ;;
        amid) {tools}/"$name" "$@" <&0 & kill -KILL 0 ;;
        term) kill -TERM 0 ;;
        fail) printf '%s: No space left on device\\n' "$name" >&2; exit 1 ;;
        error) printf '%s: Input/output error\\n' "$name" >&2; exit 1 ;;
    esac
fi
exec {tools}/"$name" "$@"
"""


class Killer:
    """Wrappers for every tool of a repo host, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "bin"
        self._state = directory / "state"
        tools = directory / "tools"
        for made in (self.path, self._state, tools):
            made.mkdir(parents=True)
        for name in _NAMES.split():
            real = shutil.which(name)
            if real is not None:
                (tools / name).symlink_to(real)
                (self.path / name).symlink_to("wrapper")
        wrapper = self.path / "wrapper"
        wrapper.write_text(_WRAPPER.format(state=self._state, tools=tools))
        wrapper.chmod(0o755)

    def arm(self, step: int, fault: Fault = "kill") -> None:
        """Strike at command number ``step`` from now on, once."""
        self.disarm()
        (self._state / "step").write_text(f"{step} {fault}\n")

    def disarm(self) -> None:
        """Let everything pass."""
        for name in ("step", "count", "hit"):
            (self._state / name).unlink(missing_ok=True)

    @property
    def hit(self) -> str:
        """Return the command that was struck since it was armed, or nothing."""
        file = self._state / "hit"
        return file.read_text().strip() if file.exists() else ""

    @property
    def count(self) -> int:
        """Return how many commands ran since it was armed."""
        file = self._state / "count"
        return len(file.read_text()) if file.exists() else 0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is tried at every step: ``prepare`` the old state, ``act``, then ``judge`` what lies there and rerun.

    ``act`` raises whatever it likes when it was struck. ``judge`` gets the name of the command that was struck, and
    is told nothing else: it looks at the disk.
    """

    prepare: Callable[[], None]
    act: Callable[[], None]
    judge: Callable[[str], None]


#: In a test suite each fault strikes at every fourth command, each at others; all of them: ``stride=1``.
STRIDE = 4
_STARTS: dict[Fault, int] = {"kill": 1, "amid": 2, "term": 3, "fail": 4, "error": 4}


def strike_each(killer: Killer, trial: Trial, fault: Fault = "kill", *, stride: int = STRIDE) -> int:
    """Strike at every ``stride``-th command until one run passes undisturbed; return how many were struck."""
    step, struck = (_STARTS[fault] - 1) % stride + 1, 0
    while True:
        trial.prepare()
        killer.arm(step, fault)
        failure: Exception | None = None
        try:
            trial.act()
        except Exception as error:  # noqa: BLE001 - whatever a cut connection looks like; judged by the disk
            failure = error
        hit = killer.hit
        killer.disarm()
        if not hit:
            if failure is not None:
                raise failure
            trial.judge("")
            return struck
        trial.judge(hit)
        struck += 1
        step += stride


class ShellTransport:
    """A transport to this host whose far end is a process group of its own, with an environment of its own."""

    def __init__(self, env: Mapping[str, str] | None = None, *, label: str = "here") -> None:
        self._env = dict(os.environ if env is None else env)
        self._label = label
        self._open: list[ShellChannel] = []

    @property
    def label(self) -> str:
        """Return what messages call the host."""
        return self._label

    def open(self, argv: Sequence[str]) -> Channel:
        """Run a command."""
        channel = ShellChannel(argv, self._env)
        self._open.append(channel)
        return channel

    def close(self) -> None:
        """End every command."""
        for channel in self._open:
            channel.close()
        self._open.clear()


class ShellChannel:
    """A command of :class:`ShellTransport`."""

    def __init__(self, argv: Sequence[str], env: dict[str, str]) -> None:
        program = shutil.which(argv[0], path=env.get("PATH")) or argv[0]
        self._process = subprocess.Popen(
            [program, *argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
        self._ended: Ended | None = None

    @property
    def pid(self) -> int:
        """Return the process id of the far end, which is that of its group too."""
        return self._process.pid

    def send(self, data: bytes) -> None:
        """Write all of it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError as error:
            raise TransferFailed(f"the far end is gone: {error}") from error

    def end(self) -> None:
        """Close its stdin."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            self._process.stdin = None

    def line(self) -> bytes:
        """Return a line without its newline."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise TransferFailed("the far end is gone")
        return line[:-1]

    def read(self, size: int) -> bytes:
        """Return some bytes."""
        assert self._process.stdout is not None
        return self._process.stdout.read1(size)  # type: ignore[attr-defined, no-any-return]

    def finish(self) -> Ended:
        """Wait for its end."""
        if self._ended is None:
            if self._process.stdin is not None:
                self.end()
                self._process.stdin = None
            _, stderr = self._process.communicate()
            self._ended = Ended(status=self._process.returncode, stderr=stderr.decode(errors="replace")[-4000:])
        return self._ended

    def close(self) -> None:
        """Kill what is left of its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.finish()

"""Run one way of writing again and again, each time stopped at the next place where the disk changes.

    python injector.py SCENARIO FAULT DIRECTORY [STEP]

A place is anything that changes what is on the disk: a file opened for writing, a piece written, fsync, rename,
mkdir, remove, chmod, an exchange of two names. FAULT is ``kill`` (SIGKILL, in the middle of a piece), ``term``
(SIGTERM, with what our command lines do about it), or an errno that the place fails with, once. Each time the state
must be the old or the new one; a second, undisturbed run must end with the new one, and leave nothing lying about.
Every STEP-th place is tried. Prints the count as JSON, or what was wrong.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from unittest import mock

from bundler import files
from bundler.cli import shell
from bundler.cli.context import Output
from bundler.deploy import audit
from bundler.errors import BundlerError, SpaceError
from bundler.store import cas
from tests.faults.scenarios import SCENARIOS, Scenario

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.utime", "os.symlink"}
FAILED, BROKEN = 3, 4
#: With which status a run may end that was struck; every other fault is an errno.
_ENDS = {"kill": (-signal.SIGKILL,), "term": (128 + signal.SIGTERM,)}
_PR_SET_CHILD_SUBREAPER = 36


class Injector:
    """Counts places below ``root`` and strikes at one of them."""

    def __init__(self, root: Path, fault: str) -> None:
        self.root = root
        self.fault = fault
        self.left = 0
        self.hit = root.with_name("hit")
        self._lock = threading.Lock()

    def arm(self, number: int) -> None:
        self.left = number
        sys.addaudithook(self._audit)
        mock.patch.object(os, "fsync", self._fsync).start()
        exchange = files._exchange

        def disturbed(one: Path, two: Path) -> bool:
            self.place("exchange")
            return exchange(one, two)

        mock.patch.object(files, "_exchange", disturbed).start()
        torn = self._torn(files.unfinished_file)
        for module in (files, cas):
            mock.patch.object(module, "unfinished_file", torn).start()
        mock.patch.object(audit, "appending", self._torn(files.appending)).start()
        if self.fault == "term":
            mock.patch.object(shell._Stop, "_say").start()
            shell._stop_on_signals(Output())

    def _fsync(self, _handle: int) -> None:
        self.place("fsync")

    def place(self, what: str, before: Callable[[], object] = lambda: None) -> None:
        with self._lock:
            self.left -= 1
            if self.left != 0:
                return
        # A signal tears no write: another thread may well go on until the handler ends us.
        if self.fault != "term":
            before()
        self.strike(what)

    def strike(self, what: str) -> None:
        handle = os.open(self.hit, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(handle, what.encode())
        os.close(handle)
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "term":
            os.kill(os.getpid(), signal.SIGTERM)
            return
        number = getattr(errno, self.fault)
        raise OSError(number, os.strerror(number), what)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _mode, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and self._inside(path):
                self.place(f"open {path}")
        elif event in _CHANGES and self._inside(*arguments):
            self.place(f"{event} {arguments[0]}")

    def _inside(self, path: Any, *more: Any) -> bool:
        """Return whether a path lies below the root: absolute, an open file, or below the directory named last."""
        found = _path_of(path) if isinstance(path, int) else Path(os.fsdecode(path))
        if more and isinstance(more[-1], int) and more[-1] >= 0:
            found = _path_of(more[-1]) / found
        return self.root in found.parents

    def _torn(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @contextlib.contextmanager
        def torn(*arguments: Any, **options: Any) -> Iterator[Any]:
            with real(*arguments, **options) as file:
                yield _Torn(file, self)

        return torn


def _path_of(handle: int) -> Path:
    return Path(f"/proc/self/fd/{handle}").readlink()


class _Torn:
    """A file whose next piece may be written in part only."""

    def __init__(self, file: IO[bytes], injector: Injector) -> None:
        self._file = file
        self._injector = injector

    def write(self, data: bytes) -> int:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._injector.place(f"write {self._file.name}", half)
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def attempt(work: Callable[[], object]) -> int:
    """Do ``work`` in a process of its own and return its status: 0, FAILED, BROKEN, or minus the signal.

    What it started has ended too by then: a far end may go on for a while after the near one was killed.
    """
    guard = os.fork()
    if guard == 0:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        status = _attempt(work)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        if status < 0:
            os.kill(os.getpid(), -status)
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(guard, 0)[1])


def _attempt(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        status = BROKEN
        try:
            work()
            status = 0
        except SpaceError:
            status = FAILED
        except (BundlerError, OSError) as error:
            status = BROKEN if getattr(error, "errno", 0) == errno.ENOSPC else FAILED
            if status == BROKEN:
                traceback.print_exc()
        except BaseException:  # noqa: BLE001  # the process ends here, whatever it was
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Trial:
    """One scenario with one fault."""

    def __init__(self, scenario: Scenario, fault: str, base: Path) -> None:
        self.scenario, self.fault = scenario, fault
        self.root, self.template = base / "root", base / "template"
        self.template.mkdir()
        self._must(attempt(lambda: scenario.prepare(self.template)), "preparing")
        self._renew()
        self.old = scenario.state(self.root)
        self._must(attempt(lambda: scenario.act(self.root)), "an undisturbed run")
        self.new = scenario.state(self.root)
        assert self.old != self.new, "nothing changed"

    def strike_all(self, first: int = 1, step: int = 1) -> int:
        """Strike at every ``step``-th place from ``first`` on; return how many were struck."""
        count = 0
        while self.strike(first + count * step):
            count += 1
        return count

    def strike(self, number: int) -> bool:
        """Strike at one place; return False once there are no more."""
        self._renew()
        injector = Injector(self.root, self.fault)
        injector.hit.unlink(missing_ok=True)

        def disturbed() -> None:
            injector.arm(number)
            self.scenario.act(self.root)

        status = attempt(disturbed)
        if not injector.hit.exists():
            self._must(status, "the last run")
            return False
        where = f"{self.fault} at {number}: {injector.hit.read_text()}"
        expected = _ENDS.get(self.fault, (0, FAILED))
        assert status in expected, f"{where}: status {status}"
        found = self.scenario.state(self.root)
        assert found in (self.old, self.new, *self.scenario.between), f"{where}: a mixture"
        assert status != 0 or found == self.new, f"{where}: failed without saying so"
        self._must(attempt(lambda: self.scenario.act(self.root)), f"{where}: the rerun")
        assert self.scenario.state(self.root) == self.new, f"{where}: the rerun ended elsewhere"
        assert self.scenario.leftovers(self.root) == [], f"{where}: {self.scenario.leftovers(self.root)}"
        return True

    def _renew(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        subprocess.run(["cp", "-a", self.template, self.root], check=True)
        self.scenario.arrive(self.root)

    @staticmethod
    def _must(status: int, what: str) -> None:
        assert status == 0, f"{what} ended with {status}"


def main() -> None:
    name, fault, base = sys.argv[1:4]
    step = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    trial = Trial(SCENARIOS[name](), fault, Path(base))
    number, count = 1, 0
    while trial.strike(number):
        number, count = number + step, count + 1
    sys.stdout.write(json.dumps({"places": number, "tried": count}) + "\n")


if __name__ == "__main__":
    main()

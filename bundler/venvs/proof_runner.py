"""Runs inside a venv that is being proved, with the target's interpreter: standard library only, Python 3.9 or later.

Reads a request (JSON) from stdin and writes the outcome of each check (JSON) to stdout. Every console or GUI
script is loaded in a fresh process, forked from this interpreter, which has imported nothing of the venv. Other
entry points of a distribution share a process; one that kills or blocks it is noted and the rest goes on in the
next. Nothing of this module is used by the build host but its bytes.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import re
import resource
import select
import signal
import sys
import sysconfig
import tempfile
import time
import traceback
from pathlib import Path
from typing import IO, Any

SCRIPT_GROUPS = ("console_scripts", "gui_scripts")
MESSAGE_LIMIT = 500
OUTPUT_LIMIT = 1 << 16
FILE_LIMIT = 1 << 28
#: Seconds between looks at time-outs; the end of a child wakes the loop at once.
POLL = 0.5

Item = dict[str, Any]
Outcome = dict[str, Any]


def script_problem(venv: Path, name: str) -> str:
    """Return why ``bin/<name>`` cannot be run, or nothing."""
    path = venv / "bin" / name
    if not path.is_file():
        return f"bin/{name} is missing"
    return "" if os.access(path, os.X_OK) else f"bin/{name} is not executable"


def find_items(venv: Path) -> tuple[list[list[Item]], list[Outcome]]:
    """Return the entry points to load, each list for one process, and what is wrong before anything is loaded."""
    batches: list[list[Item]] = []
    broken: list[Outcome] = []
    for path in sorted(Path(sysconfig.get_paths()["purelib"]).glob("*.dist-info")):
        if path.is_symlink():  # a system package: its scripts are the distribution's own
            continue
        package = re.sub(r"[-_.]+", "-", path.name.partition("-")[0]).lower()
        try:
            items = items_of(path, package)
        except Exception as error:  # noqa: BLE001  # whatever a broken file makes the parser raise
            broken.append(outcome({"kind": "script", "package": package, "group": "", "name": path.name}, error))
            continue
        scripts = [item for item in items if item["kind"] == "script"]
        problems = [(item, script_problem(venv, item["name"])) for item in scripts]
        batches += [[item] for item, problem in problems if not problem]
        # Not for pip: its wheel names pip3.9 and the like, and installers write names of their own.
        broken += [outcome(item, problem) for item, problem in problems if problem and package != "pip"]
        others = [item for item in items if item["kind"] != "script"]
        batches += [others] if others else []
    return batches, broken


def items_of(path: Path, package: str) -> list[Item]:
    """Return the entry points of the distribution whose metadata directory is ``path``, sorted, each once."""
    found = {(one.group, one.name, one.value): one for one in importlib.metadata.PathDistribution(path).entry_points}
    return [
        {
            "kind": "script" if group in SCRIPT_GROUPS else "entry-point",
            "package": package,
            "group": group,
            "name": name,
            "load": found[group, name, value].load,
        }
        for group, name, value in sorted(found)
    ]


def message_of(error: BaseException) -> str:
    """Return type and message on one line, without addresses of this run."""
    text = " ".join(str(error).split())
    text = re.sub(r"\b0x[0-9a-f]{6,}", "0x…", text)
    return f"{type(error).__name__}: {text}"[:MESSAGE_LIMIT].rstrip(": ")


def place_of(error: BaseException) -> str:
    """Return file and line of the innermost frame of the venv, else of any but the import system's and ours."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen ")
        and frame.filename != __file__
        and not frame.filename.endswith(("/importlib/__init__.py", "/importlib/metadata/__init__.py"))
    ]
    own = [frame for frame in frames if frame.filename.startswith(sys.prefix + "/")]
    best = own or frames
    return f"{best[-1].filename}:{best[-1].lineno}" if best else ""


def outcome(item: Item, error: object = None, **more: object) -> Outcome:
    """Return the facts about one check."""
    facts = {key: item[key] for key in ("kind", "package", "group", "name")}
    facts.update(error="", where="", missing="", output="", seconds=0.0)
    if isinstance(error, BaseException):
        facts.update(error=message_of(error), where=place_of(error))
        if isinstance(error, ModuleNotFoundError):
            facts["missing"] = error.name or ""
    elif error:
        facts["error"] = str(error)
    facts.update(more)
    return facts


class Job:
    """A child process: it loads the items one after the other, or becomes the command of its only item."""

    def __init__(self, items: list[Item], venv: Path, timeout: float) -> None:
        self.items = items
        self.done: list[Outcome] = []
        self.timeout = timeout
        self.venv = venv
        self.timed_out = False
        self.open = True
        self._partial = b""
        self.output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the job is over
        self.reader, writer = os.pipe()
        self.started = self.since = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            self._child(writer)
        os.close(writer)
        os.set_blocking(self.reader, False)

    def _child(self, writer: int) -> None:
        """Never returns."""
        status = 127
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
            null = os.open(os.devnull, os.O_RDONLY)
            for source, goal in ((null, 0), (self.output.fileno(), 1), (self.output.fileno(), 2)):
                os.dup2(source, goal)
            if "argv" in self.items[0]:
                os.execvp(self.items[0]["argv"][0], self.items[0]["argv"])  # noqa: S606  # an argument list
            self._load_all(writer)
            status = 0
        except BaseException as error:  # noqa: BLE001  # a forked child must never run on into the parent's code
            os.write(2, message_of(error).encode())
        finally:
            os._exit(status)

    def _load_all(self, writer: int) -> None:
        sys.path[0] = str(self.venv / "bin")
        for item in self.items:
            sys.argv = [str(self.venv / "bin" / item["name"])]
            error: BaseException | None = None
            try:
                item["load"]()
            except BaseException as caught:  # noqa: BLE001  # SystemExit at import is a failure as well
                error = caught
                traceback.print_exc()
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            line = json.dumps(outcome(item, error)).encode() + b"\n"
            while line:
                line = line[os.write(writer, line) :]

    def read(self) -> None:
        """Take what the child has reported so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                piece = os.read(self.reader, 1 << 16)
                if not piece:
                    self.open = False
                    break
                self._partial += piece
        *lines, self._partial = self._partial.split(b"\n")
        for line in lines:
            now = time.monotonic()
            self.done.append({**json.loads(line), "seconds": now - self.since})
            self.since = now

    def over(self) -> bool:
        """Return whether the child has ended; one whose time is up is ended."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid and time.monotonic() - self.since > self.timeout:
            self.timed_out = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            pid, status = os.waitpid(self.pid, 0)
        if not pid:
            return False
        self.read()
        with contextlib.suppress(ProcessLookupError):  # whatever it left running
            os.killpg(self.pid, signal.SIGKILL)
        os.close(self.reader)
        self._conclude(status)
        return True

    def _conclude(self, status: int) -> None:
        """Add the outcome of the item at which the child ended early, and its output."""
        if len(self.done) < len(self.items):
            item = self.items[len(self.done)]
            error = self._ending(status)
            self.done.append(outcome(item, error, seconds=time.monotonic() - self.since))
        size = self.output.seek(0, os.SEEK_END)
        self.output.seek(max(0, size - OUTPUT_LIMIT))
        self.done[-1]["output"] = self.output.read(OUTPUT_LIMIT).decode("utf-8", "replace")
        self.output.close()

    def _ending(self, status: int) -> str:
        command = "argv" in self.items[0]
        if self.timed_out:
            return f"not done within {self.timeout:g} s"
        if os.WIFSIGNALED(status):
            return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
        code = os.WEXITSTATUS(status)
        if command:
            return f"status {code}" if code else ""
        return f"the process ended with status {code} while loading"

    def rest(self) -> list[Item]:
        """Return the items that the child did not come to."""
        return self.items[len(self.done) :]


def ring_when_children_end() -> int:
    """Return a file descriptor that becomes readable when a child ends."""
    bell, rope = os.pipe()
    os.set_blocking(rope, False)
    signal.set_wakeup_fd(rope, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return bell


def run_all(batches: list[list[Item]], venv: Path, workers: int, timeout: float) -> list[Outcome]:
    """Run every batch, ``workers`` at a time."""
    bell = ring_when_children_end()
    waiting = list(reversed(batches))
    running: list[Job] = []
    results: list[Outcome] = []
    while waiting or running:
        while waiting and len(running) < workers:
            running.append(Job(waiting.pop(), venv, timeout))
        ready, _, _ = select.select([bell, *(job.reader for job in running if job.open)], [], [], POLL)
        if bell in ready:
            os.read(bell, 1 << 16)
        for job in list(running):
            if job.reader in ready:
                job.read()
            if job.over():
                running.remove(job)
                results += job.done
                if job.rest():
                    waiting.append(job.rest())
    return results


def module_item(name: str) -> Item:
    """Return the check that a system package's module can be imported."""
    return {
        "kind": "module",
        "package": "",
        "group": "system-packages",
        "name": name,
        "load": lambda: importlib.import_module(name),
    }


def command_items(request: dict[str, Any], venv: Path) -> list[Item]:
    """Return pip's check of the dependencies and the smoke commands."""
    # Not by find_spec: setuptools' import hook takes a look at pip as a sign that distutils is to be left alone.
    own_pip = Path(sysconfig.get_paths()["purelib"], "pip", "__main__.py").is_file()
    pip = ["-m", "pip"] if own_pip else [request["pip"]]
    check = [str(venv / "bin" / "python"), *pip, "--isolated", "--disable-pip-version-check", "check"]
    items = [{"kind": "dependency", "package": "", "group": "pip-check", "name": "", "argv": check}]
    items += [
        {"kind": "smoke", "package": "", "group": "smoke", "name": smoke["name"], "argv": smoke["argv"]}
        for smoke in request["smoke"]
    ]
    return items


def main() -> None:
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    venv = Path(request["venv"])
    batches, results = find_items(venv)
    batches += [[module_item(name)] for name in request["modules"]]
    batches += [[item] for item in command_items(request, venv)]
    results += run_all(batches, venv, request["workers"], request["timeout"])
    version = ".".join(str(part) for part in sys.version_info[:3])
    sys.stdout.write("\n" + json.dumps({"python": version, "results": results}))


if __name__ == "__main__":
    main()

"""Worker processes on this host: real ones, really killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest

from bundler.buildenv.host import HostEnvironment
from bundler.errors import BuildError, StoreError, WheelBuildFailed
from bundler.model.lock import LockedPackage
from bundler.model.manifest import PackageBuild
from bundler.model.target import Target
from bundler.process import Command, run, start, stop
from bundler.store.cas import Store
from bundler.wheels.build import BuildRequest, recall_wheel
from bundler.wheels.executor import BuildJob, Built, job_line
from bundler.wheels.local_executor import LocalExecutor
from bundler.wheels.source import Sources

MakeSdist: TypeAlias = Callable[..., LockedPackage]
#: Kill the worker, an ancestor of ours where the build is not isolated, as often as there are files to remove.
KILL = """
def files():
    left = sorted(pathlib.Path(os.environ["KILLS"]).iterdir())
    if left:
        left[0].unlink()
        parent = os.getppid()
        while b"bundler.wheels.worker" not in pathlib.Path(f"/proc/{parent}/cmdline").read_bytes():
            parent = int(pathlib.Path(f"/proc/{parent}/stat").read_text().split()[3])
        os.kill(parent, 9)
        time.sleep(60)
    return {"demo.py": b"x = 1"}
"""
#: Say that the build is under way, then wait until told to go on.
WAIT = """
def files():
    place = pathlib.Path(os.environ["PLACE"])
    (place / f"running-{os.getpid()}").touch()
    while not (place / "go").exists():
        time.sleep(0.02)
    return {}
"""


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    with closing(LocalExecutor(2)) as made:
        yield made


def job_for(package: LockedPackage, environment: HostEnvironment, store: Store, **env: str) -> BuildJob:
    return BuildJob(
        request=BuildRequest(package=package, target=environment.target, settings=PackageBuild(env=env)),
        environment=environment.spec,
        sources=Sources(store=store, checkout=lambda *_: None, root=Path("/nowhere")).spec,
    )


def eventually(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_job_leaves_its_wheel_in_the_store(
    store: Store, environment: HostEnvironment, make_sdist: MakeSdist, executor: LocalExecutor
) -> None:
    """The outcome names what is in the shared store; a process is started for the first job and kept for the next."""
    before = executor.pids
    first = job_for(make_sdist(), environment, store)
    built = executor.run(first)
    workers = executor.pids
    executor.run(job_for(make_sdist("other"), environment, store))

    assert before == ()
    assert len(workers) == 1
    assert executor.pids == workers
    assert store.size(built.digest) == built.size
    known = recall_wheel(first.request, environment, store)
    assert known is not None
    assert (known.filename, known.digest) == (built.filename, built.digest)


def test_a_failed_build_is_the_same_error_as_here(
    store: Store, environment: HostEnvironment, make_sdist: MakeSdist, executor: LocalExecutor
) -> None:
    """Message with the end of the log, hint with the places of log and tree; the worker goes on to the next job."""
    with pytest.raises(WheelBuildFailed, match="the reason") as caught:
        executor.run(job_for(make_sdist("bad", extra="raise ValueError('the reason')"), environment, store))
    workers = executor.pids

    assert "log: " in caught.value.hint
    assert executor.run(job_for(make_sdist(), environment, store)).filename == "demo-1.0-py3-none-any.whl"
    assert executor.pids == workers


def test_what_a_build_prints_is_no_answer(
    store: Store, environment: HostEnvironment, make_sdist: MakeSdist, executor: LocalExecutor
) -> None:
    """Lines on stdout and stderr, however much they look like outcomes, go to the build's log."""
    extra = "print('{\"built\": null}', flush=True)\nos.write(2, b'{}\\n')\nos.write(1, b'{}\\n' * 10000)\n"
    built = executor.run(job_for(make_sdist(extra=extra), environment, store))

    assert built.filename == "demo-1.0-py3-none-any.whl"


def test_a_disk_that_fails_under_a_worker_is_an_error_of_the_store(
    tmp_path: Path, store: Store, environment: HostEnvironment, make_sdist: MakeSdist, executor: LocalExecutor
) -> None:
    """What the system refuses a worker comes back as one of our errors, not as a fault."""
    job = job_for(make_sdist(), environment, store)
    (store.root / "logs").write_text("a file where a directory must be")

    with pytest.raises(StoreError, match="logs"):
        executor.run(job)


@pytest.mark.slow
def test_the_job_of_a_killed_worker_is_taken_over(
    tmp_path: Path, store: Store, target: Target, make_sdist: MakeSdist, executor: LocalExecutor
) -> None:
    """Two workers are killed in the middle of the build, the third one ends it; nothing unfinished stays."""
    environment = HostEnvironment(store.tmp, target=target, isolate=False)
    kills = tmp_path / "kills"
    kills.mkdir()
    for number in range(2):
        kills.joinpath(str(number)).touch()
    built = executor.run(job_for(make_sdist(extra=KILL), environment, store, KILLS=str(kills)))

    assert not list(kills.iterdir())
    assert store.size(built.digest) == built.size
    assert not list(Store(store.root).tmp.glob("work-*"))


@pytest.mark.slow
def test_a_job_that_costs_worker_after_worker_is_given_up(
    tmp_path: Path, store: Store, target: Target, make_sdist: MakeSdist, executor: LocalExecutor
) -> None:
    """After three workers the error names the job and what to do; other jobs still run."""
    environment = HostEnvironment(store.tmp, target=target, isolate=False)
    kills = tmp_path / "kills"
    kills.mkdir()
    for number in range(9):
        kills.joinpath(str(number)).touch()
    with pytest.raises(WheelBuildFailed) as caught:
        executor.run(job_for(make_sdist(extra=KILL), environment, store, KILLS=str(kills)))

    assert caught.value.message == f"demo 1.0 for {target.name}: its worker was killed 3 times: out of memory?"
    assert "build.packages.demo.memory" in caught.value.hint
    assert len(list(kills.iterdir())) == 6
    assert executor.run(job_for(make_sdist("other"), environment, store)).filename == "other-1.0-py3-none-any.whl"


@pytest.mark.slow
def test_a_worker_may_be_killed_at_any_point(
    tmp_path: Path, target: Target, store: Store, make_sdist: MakeSdist
) -> None:
    """Whenever its worker is killed, from its start to its end, a job gives the same wheel."""
    package = make_sdist(extra="time.sleep(0.3)")
    wheels: set[tuple[str, str]] = set()
    for tenths in range(0, 18, 3):
        fresh = Store(tmp_path / f"store-{tenths}")
        fresh.put_file(store.path(package.origin.sha256))  # type: ignore[union-attr]  # an sdist has a digest
        environment = HostEnvironment(fresh.tmp, target=target)
        with closing(LocalExecutor(1)) as executor:
            killer = threading.Thread(target=kill_first, args=(executor, tenths / 10), daemon=True)
            killer.start()
            built = executor.run(job_for(package, environment, fresh))
            wheels.add((built.filename, built.digest))
            assert fresh.verify(built.digest)

    assert len(wheels) == 1


def kill_first(executor: LocalExecutor, delay: float) -> None:
    eventually(lambda: executor.pids)
    (pid,) = executor.pids
    time.sleep(delay)
    if pid in executor.pids:
        os.kill(pid, signal.SIGKILL)


def test_a_worker_that_cannot_start_is_reported_with_what_it_said(
    store: Store, environment: HostEnvironment, make_sdist: MakeSdist, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A broken installation is not tried again and again; the message has the last lines of its stderr."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho No module named bundler >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with closing(LocalExecutor(1)) as executor, pytest.raises(BuildError) as caught:
        executor.run(job_for(make_sdist(), environment, store))

    assert "its worker ended with status 1: No module named bundler" in caught.value.message


def test_closing_ends_what_still_builds(tmp_path: Path, store: Store, target: Target, make_sdist: MakeSdist) -> None:
    """A run that stops leaves no worker and no build behind, and begins nothing more."""
    environment = HostEnvironment(store.tmp, target=target, isolate=False)
    executor = LocalExecutor(1)
    ended: list[BaseException | Built] = []

    def build() -> None:
        try:
            ended.append(executor.run(job_for(make_sdist(extra=WAIT), environment, store, PLACE=str(tmp_path))))
        except BaseException as error:  # noqa: BLE001  # looked at below
            ended.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    eventually(lambda: list(tmp_path.glob("running-*")))
    (running,) = tmp_path.glob("running-*")
    (worker,) = executor.pids
    executor.close()
    thread.join()

    assert isinstance(ended[0], BuildError)
    eventually(lambda: not alive(worker) and not alive(int(running.name.partition("-")[2])))
    assert executor.pids == ()


PARENT = """
import sys
from bundler.wheels.executor import parse_job
from bundler.wheels.local_executor import LocalExecutor
executor = LocalExecutor(1)
executor.run(parse_job(sys.stdin.buffer.readline()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("isolate", [pytest.param(True, marks=pytest.mark.isolation), False])
def test_workers_and_builds_die_with_us(
    tmp_path: Path, store: Store, target: Target, make_sdist: MakeSdist, isolate: bool
) -> None:
    """A run that is killed takes its workers and what they run with it, inside bubblewrap and without."""
    environment = HostEnvironment(store.tmp, target=target, isolate=isolate)
    package = make_sdist(extra="time.sleep(600)")
    parent = start(Command(argv=[sys.executable, "-c", PARENT]))
    assert parent.stdin is not None
    parent.stdin.write(job_line(job_for(package, environment, store)))
    parent.stdin.flush()
    eventually(lambda: [pid for pid in descendants(parent.pid) if b"hook.py" in command_line(pid)])
    family = descendants(parent.pid)
    os.kill(parent.pid, signal.SIGKILL)
    stop(parent, patience=60)
    for pipe in (parent.stdin, parent.stdout, parent.stderr):
        assert pipe is not None
        pipe.close()

    assert len(family) >= 3
    eventually(lambda: not [pid for pid in family if alive(pid)])


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def descendants(pid: int) -> list[int]:
    found = run(Command(argv=["ps", "-A", "-o", "pid=,ppid="])).text.split("\n")
    parents = {int(line.split()[0]): int(line.split()[1]) for line in found if line.strip()}
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sorted(family - {pid})

"""The ``local`` executor: worker processes on this host, started when they are needed and kept for the next job.

A worker that is killed, at whatever point, loses nothing but time: what it left unfinished is swept, what it finished
is in the store, and another worker takes its job over. A job whose workers are killed again and again is given up.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from typing import IO

from bundler.errors import BuildError, WheelBuildFailed
from bundler.process import Command, start, stop
from bundler.wheels.executor import BuildJob, Built, job_line, parse_outcome
from bundler.wheels.hooks import OUT_OF_MEMORY

#: How many workers may be killed over one job.
ATTEMPTS = 3
_LAST_LINES = 20
_PATIENCE = 2.0


class LocalExecutor:
    """Carries out jobs in at most ``slots`` processes."""

    def __init__(self, slots: int) -> None:
        self._slots = threading.BoundedSemaphore(max(1, slots))
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the processes of all workers."""
        with self._lock:
            return tuple(sorted(worker.pid for worker in (*self._idle, *self._busy)))

    def run(self, job: BuildJob) -> Built:
        """Give ``job`` to a worker; see :class:`bundler.wheels.executor.Executor`."""
        line = job_line(job)
        with self._slots:
            for _ in range(ATTEMPTS):
                worker = self._take()
                answer = worker.ask(line)
                if answer:
                    self._give_back(worker)
                    return parse_outcome(answer).result()
                self._bury(worker, job)
        raise WheelBuildFailed(
            f"{job.request.what}: its worker was killed {ATTEMPTS} times: out of memory?",
            hint=OUT_OF_MEMORY.format(name=job.request.package.name),
        )

    def close(self) -> None:
        """End the workers: those that wait by themselves, those that build by force."""
        with self._lock:
            self._closed = True
            idle, busy = tuple(self._idle), tuple(self._busy)
            self._idle.clear()
        for worker in busy:
            worker.kill()
        for worker in idle:
            worker.end(_PATIENCE)

    def _take(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise BuildError("the run is over: no more builds are begun")
            worker = self._idle.pop() if self._idle else _Worker()
            self._busy.add(worker)
        return worker

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
            if not self._closed:
                self._idle.append(worker)
                return
        worker.end(_PATIENCE)

    def _bury(self, worker: _Worker, job: BuildJob) -> None:
        """Forget a worker that is gone; one that ended by itself has a fault, which another one would have too."""
        with self._lock:
            self._busy.discard(worker)
        status = worker.end(_PATIENCE)
        if status >= 0:
            raise BuildError(
                f"{job.request.what}: its worker ended with status {status}: {worker.said}",
                hint="is the environment that bundle-build runs in complete? Make it again",
            )


class _Worker:
    """One process. What it says on stderr is kept for the message about its end."""

    def __init__(self) -> None:
        self._process = start(Command(argv=[sys.executable, "-I", "-m", "bundler.wheels.worker"]))
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._stdin, self._stdout, self._stderr = map(_made, pipes)
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._listener = threading.Thread(target=self._listen, name=f"worker-{self.pid}", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> str:
        return " ".join(self._last).strip() or "it said nothing"

    def ask(self, line: bytes) -> bytes:
        """Return the answer to ``line``, or nothing if the process is gone before all of it is there."""
        try:
            self._stdin.write(line)
            self._stdin.flush()
            answer = self._stdout.readline()
        except (OSError, ValueError):  # a broken pipe, or one that was closed meanwhile
            return b""
        return answer if answer.endswith(b"\n") else b""

    def kill(self) -> None:
        """End it now; whoever waits for its answer gets none."""
        stop(self._process)

    def end(self, patience: float) -> int:
        """Let it end, for ``patience`` seconds by itself, and return its status."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        status = stop(self._process, patience=patience)
        self._listener.join(_PATIENCE)
        self._stdout.close()
        self._stderr.close()
        return status

    def _listen(self) -> None:
        for line in self._stderr:
            self._last.append(line.decode("utf-8", "replace").rstrip())


def _made(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("a worker has pipes for all its streams")
    return pipe

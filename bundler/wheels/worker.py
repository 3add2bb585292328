"""A worker process: one job per line of its input, one outcome per line of its output, both JSON.

    python -m bundler.wheels.worker

It ends when its input ends. Should it be killed, or we, nothing that it started outlives it (bundler.process).
"""

from __future__ import annotations

import os
import sys
import traceback
from functools import cache

from bundler import clock
from bundler.buildenv.drivers import open_environment
from bundler.buildenv.port import BuildEnvironment, EnvironmentSpec
from bundler.errors import BundlerError, StoreError
from bundler.files import room_for
from bundler.wheels.build import build_key, build_wheel
from bundler.wheels.executor import BuildJob, Built, Outcome, failure_of, outcome_line, parse_job
from bundler.wheels.source import Sources, SourcesSpec


def perform(job: BuildJob) -> Outcome:
    """Carry out ``job`` in this process; whatever goes wrong is in the outcome."""
    try:
        return Outcome(built=_build(job))
    except BundlerError as error:
        return Outcome(failure=failure_of(error))
    except Exception:  # noqa: BLE001  # a fault of ours: raised where the job came from
        return Outcome(fault=traceback.format_exc())


def _build(job: BuildJob) -> Built:
    sources, environment = _sources(job.sources), _environment(job.environment)
    started = clock.stopwatch()
    try:
        with room_for(sources.store.root):
            wheel = build_wheel(job.request, environment, sources)
    except OSError as error:
        raise StoreError(f"{error.filename or 'input/output'}: {error.strerror or error}") from error
    return Built(
        key=build_key(job.request, environment),
        filename=wheel.filename,
        digest=wheel.digest,
        size=wheel.size,
        seconds=round(clock.stopwatch() - started, 2),
    )


@cache
def _sources(spec: SourcesSpec) -> Sources:
    return spec.open()


@cache
def _environment(spec: EnvironmentSpec) -> BuildEnvironment:
    return open_environment(spec)


def main() -> None:
    """Serve jobs until the input ends. What libraries print goes to stderr: stdout is for outcomes alone."""
    with os.fdopen(os.dup(1), "wb") as outcomes:
        os.dup2(2, 1)
        for line in sys.stdin.buffer:
            outcomes.write(outcome_line(perform(parse_job(line))))
            outcomes.flush()


if __name__ == "__main__":
    main()

"""The port of executors: where builds are carried out, on this host or elsewhere.

A job is a plain value with a JSON form, and so is its outcome. What a build makes goes into the store, which whoever
carries out jobs shares with us; the outcome only names it. So a job can be given to another process, or to an engine
that spreads work over hosts, and can be given away again when whoever had it is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from pydantic import TypeAdapter

from bundler import errors
from bundler.buildenv.port import EnvironmentSpec
from bundler.errors import BundlerError, CommandFailed, Problem
from bundler.wheels.build import BuildRequest
from bundler.wheels.source import SourcesSpec


@dataclass(frozen=True, kw_only=True)
class BuildJob:
    """One build: what, in which build environment, from which sources and into which store."""

    request: BuildRequest
    environment: EnvironmentSpec
    sources: SourcesSpec


@dataclass(frozen=True, kw_only=True)
class Built:
    """A wheel that is in the store now, remembered there under ``key``; ``seconds`` is what it took."""

    key: str
    filename: str
    digest: str
    size: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One of our errors as data; ``rule`` is the name of its class."""

    rule: str
    message: str
    hint: str = ""
    problems: Sequence[Problem] = ()
    returncode: int = -1

    def error(self) -> BundlerError:
        """Return the error itself, of the same class: its exit code is the same."""
        if self.rule == CommandFailed.__name__:
            return CommandFailed(self.message, returncode=self.returncode, hint=self.hint)
        kind = getattr(errors, self.rule, None)
        if not (isinstance(kind, type) and issubclass(kind, BundlerError)):
            kind = BundlerError
        return kind(self.message, hint=self.hint, problems=self.problems)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended: ``built``, or an error of the build, or the traceback of a ``fault`` of ours."""

    built: Built | None = None
    failure: Failure | None = None
    fault: str = ""

    def result(self) -> Built:
        """Return what was built.

        Raises:
            BundlerError: The build failed.
            RuntimeError: A fault of ours, where the job was carried out.
        """
        if self.failure is not None:
            raise self.failure.error()
        if self.built is None:
            raise RuntimeError(f"a build job met a fault of ours:\n{self.fault}")
        return self.built


class Executor(Protocol):
    """Carries out jobs. Made with how many at once, ``slots``; from so many threads ``run`` is called."""

    def run(self, job: BuildJob) -> Built:
        """Carry out ``job``, here or elsewhere, and return what came of it.

        Raises:
            BundlerError: The build failed, or whoever carried it out was lost again and again.
        """
        ...

    def close(self) -> None:
        """End everything that was started for jobs; one that still runs is lost."""
        ...


def failure_of(error: BundlerError) -> Failure:
    """Return ``error`` as data."""
    return Failure(
        rule=error.rule,
        message=error.message,
        hint=error.hint,
        problems=error.problems,
        returncode=getattr(error, "returncode", -1),
    )


def job_line(job: BuildJob) -> bytes:
    """Return ``job`` as one line of JSON."""
    return _jobs().dump_json(job) + b"\n"


def parse_job(line: bytes) -> BuildJob:
    """Return the job that ``line`` holds; ValueError where it is none."""
    return _jobs().validate_json(line)


def outcome_line(outcome: Outcome) -> bytes:
    """Return ``outcome`` as one line of JSON."""
    return _outcomes().dump_json(outcome) + b"\n"


def parse_outcome(line: bytes) -> Outcome:
    """Return the outcome that ``line`` holds; ValueError where it is none."""
    return _outcomes().validate_json(line)


@cache
def _jobs() -> TypeAdapter[BuildJob]:
    return TypeAdapter(BuildJob)


@cache
def _outcomes() -> TypeAdapter[Outcome]:
    return TypeAdapter(Outcome)

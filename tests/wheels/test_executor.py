"""Jobs and their outcomes as plain values."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler import errors
from bundler.buildenv.port import EnvironmentSpec
from bundler.errors import BundlerError, CommandFailed, Problem, UsageError
from bundler.model.lock import Artifact, DirectorySource, GitSource, LockedPackage, Origin
from bundler.model.manifest import PackageBuild
from bundler.model.target import known_target
from bundler.model.wheel import Wheel
from bundler.wheels.build import BuildRequest
from bundler.wheels.drivers import choose_executor
from bundler.wheels.executor import (
    BuildJob,
    Built,
    Failure,
    Outcome,
    failure_of,
    job_line,
    outcome_line,
    parse_job,
    parse_outcome,
)
from bundler.wheels.source import SourcesSpec


@pytest.mark.parametrize(
    "origin",
    [
        Artifact(name="demo-1.0.tar.gz", url="https://index.example/demo-1.0.tar.gz", sha256="0" * 64, size=7),
        GitSource(url="https://git.example/demo", commit="c" * 40, requested_revision="1.0", submodules=True),
        DirectorySource(path="../demo", sha256="1" * 64),
    ],
    ids=lambda origin: type(origin).__name__,
)
def test_a_job_survives_the_way_to_a_worker(origin: Origin) -> None:
    """One line of JSON holds all of it, whatever its source is; what was derived already does no harm."""
    target = known_target("debian-13-aarch64")
    assert target.tags
    tool = Wheel(name="t", version="1", filename="t-1.whl", digest="2" * 64, size=9, kind="git", origin=origin)
    settings = PackageBuild(env={"CFLAGS": "-O2\n"}, config_settings={"--opt": ["a", "b"], "x": "y"}, memory=4096)
    job = BuildJob(
        request=BuildRequest(
            package=LockedPackage(name="demo", version="1.0", kind="sdist", origin=origin, dependencies=("x", "ü")),
            target=target,
            requirements=(tool,),
            settings=settings,
        ),
        environment=EnvironmentSpec(
            driver="rootfs", target=target, scratch=Path("/s"), system=Path("/r"), identity="i", emulated=True
        ),
        sources=SourcesSpec(store=Path("/store"), root=Path("/manifest")),
    )
    line = job_line(job)

    assert line.count(b"\n") == 1
    assert parse_job(line) == job


def every_error() -> list[type[BundlerError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BundlerError)]


@pytest.mark.parametrize("kind", every_error())
def test_an_error_of_ours_survives_the_way_back(kind: type[BundlerError]) -> None:
    """Class, and with it exit code and rule, message, hint and problems are what they were."""
    problems = (Problem(where="a", what="b", hint="c"), Problem(where="", what="d"))
    error = (
        CommandFailed("what", returncode=137, hint="do")
        if kind is CommandFailed
        else kind("what", hint="do", problems=problems)
    )
    with pytest.raises(BundlerError) as caught:
        parse_outcome(outcome_line(Outcome(failure=failure_of(error)))).result()

    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.hint, caught.value.problems) == ("what", "do", error.problems)
    assert getattr(caught.value, "returncode", None) == getattr(error, "returncode", None)


def test_what_was_built_survives_the_way_back() -> None:
    """The outcome names the wheel; its bytes are in the store."""
    built = Built(key="k", filename="demo-1.0-py3-none-any.whl", digest="0" * 64, size=1, seconds=0.25)

    assert parse_outcome(outcome_line(Outcome(built=built))).result() == built


def test_a_fault_of_ours_is_no_failure_of_a_build() -> None:
    """A traceback comes back as what it is, so that it is raised at once and not listed among failed builds."""
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        parse_outcome(outcome_line(Outcome(fault="Traceback: ZeroDivisionError"))).result()


def test_only_errors_of_ours_are_made_from_data() -> None:
    """A name that is not the class of an error of ours gives the base of them all."""
    made = [Failure(rule=rule, message="what").error() for rule in ("Sequence", "dataclass", "Problem", "absent")]

    assert {type(error) for error in made} == {BundlerError}


def test_an_unknown_executor_is_named_with_those_that_are_there() -> None:
    """The hint lists the drivers that are installed."""
    with pytest.raises(UsageError, match="there is no executor 'moon'") as caught:
        choose_executor("moon", 1)

    assert "local" in caught.value.hint

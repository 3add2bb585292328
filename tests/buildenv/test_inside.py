"""What an interpreter inside says of itself, and whether it serves a target."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bundler.buildenv.host_target import Probe
from bundler.buildenv.inside import check_serves, probe_inside
from bundler.errors import BuildEnvironmentError
from bundler.model.target import known_target

TARGET = known_target("debian-12-x86_64")
GOOD = Probe(
    version=(3, 11, 9),
    executable="/opt/python3.11",
    libc="glibc 2.28",
    prefix="/opt",
    venv=False,
    machine="x86_64",
    implementation="cpython",
)


def here(argv: Sequence[str]) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_the_first_interpreter_that_is_there_answers() -> None:
    """It is asked through whatever runs commands inside; here that is a plain process."""
    probe = probe_inside(here, ["/nowhere/python3", "/usr/bin/python3", "/bin/false"], "this host")

    assert probe is not None
    assert probe.executable.startswith("/usr/bin/python3.")


def test_no_interpreter_is_no_answer() -> None:
    """None of the places has one."""
    assert probe_inside(here, ["/nowhere/python3", "/etc/passwd"], "this host") is None


@pytest.mark.parametrize("said", ["", "rubbish", "{}", "[1]"])
def test_an_interpreter_that_answers_something_else_does_not_work(said: str) -> None:
    """The message has the place and what it said."""
    with pytest.raises(BuildEnvironmentError, match="image x: its Python does not work") as caught:
        probe_inside(lambda _: f"warning\n{said}\n", ["/usr/bin/python3"], "image x")

    assert caught.value.hint


def test_an_older_c_library_and_another_patch_level_serve() -> None:
    """That is what manylinux images are: wheels of them run on newer systems."""
    check_serves(GOOD, TARGET, "image x")


@pytest.mark.parametrize(
    ("probe", "what"),
    [
        (replace(GOOD, implementation="pypy"), "its Python is pypy, not CPython"),
        (replace(GOOD, machine="aarch64"), "it is for aarch64, not x86_64"),
        (replace(GOOD, version=(3, 12, 1)), "its Python is 3.12, not 3.11"),
        (replace(GOOD, libc=""), "its C library is not glibc (unknown)"),
        (replace(GOOD, libc="glibc 2.37"), "its glibc is 2.37, newer than 2.36"),
    ],
)
def test_what_does_not_serve_is_refused_with_the_reason(probe: Probe, what: str) -> None:
    """Each reason has its words; the hint says what to look for."""
    with pytest.raises(BuildEnvironmentError, match=r"image x makes no wheels for debian-12-x86_64") as caught:
        check_serves(probe, TARGET, "image x")

    assert [problem.what for problem in caught.value.problems] == [what]
    assert "Python 3.11 and glibc 2.36 or older for x86_64" in caught.value.hint

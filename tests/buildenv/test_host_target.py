"""The target of this host."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.buildenv.host_target import (
    INTERPRETER,
    Probe,
    check_probe,
    host_target,
    identify,
    parse_os_release,
    probe_interpreter,
)
from bundler.errors import BuildEnvironmentError, ToolMissing

GOOD = Probe(
    version=(3, 11, 2),
    executable="/usr/bin/python3.11",
    libc="glibc 2.36",
    prefix="/usr",
    venv=False,
    machine="x86_64",
    implementation="cpython",
)


def test_this_host_is_a_target_with_the_distributions_python() -> None:
    """`auto` is this host: its wheel tags accept pure wheels, its interpreter is versioned and below /usr/bin."""
    target = host_target()

    assert target.python.executable == f"/usr/bin/python{target.python.version}"
    assert target.name.startswith(f"{target.distro}-{target.version}-{target.arch}")
    assert target.glibc >= (2, 17)
    assert any(str(tag) == "py3-none-any" for tag in target.tags)


def test_missing_interpreter_names_the_command_that_installs_it(tmp_path: Path) -> None:
    """No /usr/bin/python3: the hint is the apt-get line."""
    with pytest.raises(ToolMissing) as caught:
        host_target(interpreter=tmp_path / "python3")

    assert caught.value.hint == "apt-get install python3"


def test_an_interpreter_of_a_venv_is_refused() -> None:
    """The interpreter that runs the tests is private (a venv's), so it is no target."""
    with pytest.raises(BuildEnvironmentError, match="private interpreter"):
        host_target(interpreter=Path(sys.prefix) / "bin" / "python3")


def test_a_link_to_a_private_interpreter_is_refused() -> None:
    """/usr/bin/python3 that leads out of /usr/bin, as version managers make it, is refused."""
    with pytest.raises(BuildEnvironmentError, match="private interpreter"):
        check_probe(replace(GOOD, executable="/opt/versions/3.11/bin/python3.11"), INTERPRETER)


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (replace(GOOD, version=(3, 8, 10)), "oldest supported is 3.9"),
        (replace(GOOD, libc=""), "not glibc"),
        (replace(GOOD, libc="glibc rolling"), "not glibc"),
        (replace(GOOD, implementation="pypy"), "not CPython"),
        (replace(GOOD, machine="riscv64"), "riscv64 is not supported"),
    ],
)
def test_an_unusable_system_is_refused_with_the_reason(probe: Probe, message: str) -> None:
    """Too old, musl, PyPy, unknown machine: each has its own message and a hint."""
    with pytest.raises(BuildEnvironmentError, match=message) as caught:
        check_probe(probe, INTERPRETER)

    assert caught.value.hint


def test_a_broken_interpreter_is_reported_not_raised_through(tmp_path: Path) -> None:
    """A python3 that prints rubbish ends in an error of ours."""
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\necho rubbish\n")
    broken.chmod(0o755)

    with pytest.raises(BuildEnvironmentError, match="does not work"):
        probe_interpreter(broken)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID=debian\nVERSION_ID="12"\n', ("debian", "12")),
        ('ID=ubuntu\nVERSION_ID="24.04"\n', ("ubuntu", "24.04")),
        ('ID="rocky"\nVERSION_ID="9.4"\n', ("rocky", "9")),
        ('# comment\nID="rhel"\nVERSION_ID="10.0"\nBROKEN="\n', ("redhat", "10")),
    ],
)
def test_distributions_are_named_as_openstack_ansible_names_them(text: str, expected: tuple[str, str]) -> None:
    """Two-part version on Ubuntu only; RHEL is redhat; odd lines are passed over."""
    assert identify(parse_os_release(text)) == expected


@pytest.mark.parametrize("text", ["ID=debian\n", "VERSION_ID=12\n", ""])
def test_a_rolling_distribution_is_refused(text: str, tmp_path: Path) -> None:
    """Without ID or VERSION_ID there is no target name, and the message says what is missing."""
    release = tmp_path / "os-release"
    release.write_text(text)

    with pytest.raises(BuildEnvironmentError, match=r"has no (ID|VERSION_ID)"):
        host_target(os_release=release)

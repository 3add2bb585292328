"""What is said before long work, and how the installer's failures read."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from bundler.buildenv.host_target import host_target
from bundler.errors import BuildEnvironmentError
from bundler.events import Event, Warned
from bundler.model.plan import VenvPlan
from bundler.model.target import Python, Target, make_target
from bundler.workflows.installer import reason
from bundler.workflows.preflight import check_host, warn_of_host, warn_of_level

UNREACHABLE = """\
pip: WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<pip.X object at 0x7f>: \
Failed to establish a new connection: [Errno -3] Temporary failure')': /simple/demo/
pip: ERROR: No matching distribution found for demo==1
"""


@pytest.fixture(scope="module")
def host() -> Target:
    return host_target()


def plan(target: Target, name: str = "web", *, system: tuple[str, ...] = (), build: tuple[str, ...] = ()) -> VenvPlan:
    return VenvPlan(
        name=name,
        target=target,
        path=f"/opt/{name}-1",
        requirements=(),
        system_packages=system,
        build_packages=build,
    )


def test_all_that_this_host_cannot_make_is_said_at_once(host: Target) -> None:
    """A foreign target is named once however many venvs it has, beside a missing Python and a missing package."""
    python = Python(full_version="3.99.0", executable="/usr/bin/python3.99")
    foreign = make_target("plan9", "4", host.arch, python, host.glibc)
    newer = make_target(host.distro, host.version, host.arch, python, host.glibc)
    plans = [plan(foreign), plan(foreign, "two"), plan(newer, "new"), plan(host, "sys", system=("no-such-package",))]
    with pytest.raises(BuildEnvironmentError) as caught:
        check_host(plans, host)

    problems = caught.value.problems
    assert [problem.where for problem in problems] == [
        f"targets: {foreign.name}",
        "venvs.new.python",
        "venvs.sys.system_packages",
    ]
    assert problems[1].what == "/usr/bin/python3.99 is not installed"


def test_an_interpreter_of_another_patch_level_is_named_with_its_version(host: Target) -> None:
    """Bytecode belongs to one full version: the message says what to write."""
    other = replace(host, python=replace(host.python, full_version=f"{host.python.version}.99"))
    with pytest.raises(BuildEnvironmentError) as caught:
        check_host([plan(other)], host)

    assert caught.value.problems[0].hint == f'write python: "{host.python.full_version}"'


def test_venvs_of_this_host_pass(host: Target) -> None:
    """Nothing is asked of a release for this host's own target."""
    check_host([plan(host), plan(host, "two")], host)


def test_missing_compilers_are_named_where_something_is_compiled(host: Target) -> None:
    """Packages that are missing are warned of, but not for venvs that come as wheels only."""
    events: list[Event] = []
    plans = [plan(host, "a", build=("no-such-dev",)), plan(host, "b", build=("other-dev",))]
    warn_of_host(plans, {("a", host.name)}, events.append)
    warn_of_host(plans, (), events.append)

    (event,) = events
    assert isinstance(event, Warned)
    assert event.message.endswith("for compiling: no-such-dev")


def test_a_weaker_proof_than_asked_for_is_said() -> None:
    """Level target is proved on the host only, and the user hears of it."""
    events: list[Event] = []
    warn_of_level("host", events.append)
    assert not events
    warn_of_level("target", events.append)
    assert isinstance(events[0], Warned)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            UNREACHABLE,
            "[Errno -3] Temporary failure",
        ),
        (
            "some line\npip: ERROR: No matching distribution found for demo==1 (from -r x)\n",
            "No matching distribution found for demo==1 (from -r x)",
        ),
        ("", "pex said nothing"),
    ],
)
def test_a_failed_installer_says_why_in_one_line(output: str, said: str) -> None:
    """What the network said goes before what pip made of it."""
    assert reason(output) == said


def test_what_only_a_change_needs_is_not_imported_before_it() -> None:
    """A run that finds nothing changed is not slowed down by the libraries of SBOMs, venvs and key rings."""
    code = "import sys, bundler.workflows.build; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert {"cyclonedx", "virtualenv", "keyring"}.isdisjoint(done.stdout.split())

"""What is said before long work, and how the installer's failures read."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.buildenv.host_target import host_target
from bundler.buildenv.systems import Systems, SystemsRequest
from bundler.errors import BuildEnvironmentError
from bundler.events import Event, Warned
from bundler.model.plan import VenvPlan
from bundler.model.target import Python, Target, make_target
from bundler.store.cas import Store
from bundler.workflows.installer import reason
from bundler.workflows.preflight import check_host, warn_of_host


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


@pytest.fixture
def systems(host: Target, tmp_path: Path) -> Systems:
    """Systems of a manifest that says nothing of them."""
    return Systems(SystemsRequest(host=host), Store(tmp_path / "store"))


def test_all_that_this_host_cannot_make_is_said_at_once(host: Target, systems: Systems) -> None:
    """A target without a root file system is named once however many venvs it has, beside what is missing here."""
    python = Python(full_version="3.99.0", executable="/usr/bin/python3.99")
    foreign = make_target("plan9", "4", host.arch, python, host.glibc)
    newer = make_target(host.distro, host.version, host.arch, python, host.glibc)
    plans = [plan(foreign), plan(foreign, "two"), plan(newer, "new"), plan(host, "sys", system=("no-such-package",))]
    with pytest.raises(BuildEnvironmentError) as caught:
        check_host(plans, (), host, systems, whole=True)

    wheres = [problem.where for problem in caught.value.problems]
    assert [where for where in wheres if where not in ("mmdebstrap", "bubblewrap")] == [
        "venvs.new.python",
        f"targets: {foreign.name}",
        "venvs.sys.system_packages",
    ]


def test_an_interpreter_of_another_patch_level_is_named_with_its_version(host: Target, systems: Systems) -> None:
    """Bytecode belongs to one full version: the message says what to write."""
    other = replace(host, python=replace(host.python, full_version=f"{host.python.version}.99"))
    with pytest.raises(BuildEnvironmentError) as caught:
        check_host([plan(other)], (), host, systems, whole=True)

    assert caught.value.problems[0].hint == f'write python: "{host.python.full_version}"'


def test_venvs_of_this_host_pass(host: Target, systems: Systems) -> None:
    """Nothing is asked of a release for this host's own target."""
    check_host([plan(host), plan(host, "two")], (), host, systems, whole=True)


def test_a_release_of_wheels_of_sources_asks_for_what_it_compiles_only(host: Target, systems: Systems) -> None:
    """With closure sources, a target that nothing is compiled for needs no system here."""
    foreign = make_target("plan9", "4", host.arch, host.python, host.glibc)
    check_host([plan(foreign)], (), host, systems, whole=False)

    with pytest.raises(BuildEnvironmentError):
        check_host([plan(foreign)], {("web", foreign.name)}, host, systems, whole=False)


def test_missing_compilers_are_named_where_something_is_compiled(host: Target) -> None:
    """Packages that are missing are warned of, but not for venvs that come as wheels only."""
    events: list[Event] = []
    plans = [plan(host, "a", build=("no-such-dev",)), plan(host, "b", build=("other-dev",))]
    warn_of_host(plans, {("a", host.name)}, events.append)
    warn_of_host(plans, (), events.append)

    (event,) = events
    assert isinstance(event, Warned)
    assert event.message.endswith("for compiling: no-such-dev")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "some line\npip: ERROR: No matching distribution found for demo==1 (from -r x)\n",
            "No matching distribution found for demo==1 (from -r x)",
        ),
        ("", "pex said nothing"),
    ],
)
def test_a_failed_installer_says_why_in_one_line(output: str, said: str) -> None:
    """The last error that pex names, or at least its last line."""
    assert reason(output) == said


def test_what_only_a_change_needs_is_not_imported_before_it() -> None:
    """A run that finds nothing changed is not slowed down by the libraries of SBOMs, venvs and key rings."""
    code = "import sys, bundler.workflows.build; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert {"cyclonedx", "virtualenv", "keyring"}.isdisjoint(done.stdout.split())

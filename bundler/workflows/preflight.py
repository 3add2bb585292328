"""What can be said before long work: whether this host is able to make and prove every venv of a release."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bundler.buildenv.host_target import probe_interpreter
from bundler.buildenv.systems import Systems
from bundler.errors import BuildEnvironmentError, CommandFailed, Problem, VenvError
from bundler.events import Emit, Warned
from bundler.model.plan import VenvPlan
from bundler.model.target import Python, Target
from bundler.venvs.system_packages import find_system_packages, list_files


def check_host(
    plans: Sequence[VenvPlan], compiled: Collection[tuple[str, str]], host: Target, systems: Systems, *, whole: bool
) -> None:
    """Refuse what cannot be made here; bytecode and proof of ``whole`` venvs need the target's own Python.

    ``compiled`` are the venvs, by name and target, that have something to compile.

    Raises:
        BuildEnvironmentError: Some cannot; ``problems`` has all the reasons.
    """
    needed = [plan for plan in plans if whole or (plan.name, plan.target.name) in compiled]
    own = [plan for plan in needed if systems.driver(plan.target) == "host"]
    targets = dict.fromkeys(plan.target for plan in needed)
    problems = [*_targets(own, host), *systems.problems(targets)]
    if whole:
        problems += _system_packages(own)
    if problems:
        raise BuildEnvironmentError(
            "this host cannot make the release: nothing was fetched or built",
            hint="correct the manifest, prepare this host (sh scripts/prepare-host), or build on a host that can",
            problems=list(dict.fromkeys(problems)),
        )


def warn_of_host(plans: Iterable[VenvPlan], compiled: Collection[tuple[str, str]], emit: Emit) -> None:
    """Say which distro packages are named for compiling, but not installed here.

    ``compiled`` are the venvs, by name and target, that have something to compile.
    """
    wanted = {
        package for plan in plans if (plan.name, plan.target.name) in compiled for package in plan.build_packages
    }
    missing = sorted(package for package in wanted if not _is_installed(package))
    if missing:
        names = " ".join(missing)
        emit(
            Warned(
                message=f"not installed, though distro_packages names them for compiling: {names}",
                hint=f"apt-get install {names}, or the like, if a build fails",
            )
        )


def _same_system(one: Target, other: Target) -> bool:
    return (one.distro, one.version, one.arch) == (other.distro, other.version, other.arch)


def _targets(plans: Iterable[VenvPlan], host: Target) -> Iterator[Problem]:
    for plan in plans:
        target, python = plan.target, plan.target.python
        if not _same_system(target, host):
            yield Problem(
                where=f"targets: {target.name}",
                what=f"cannot be made on {host.name} itself: its bytecode and its proof need its own Python",
                hint="set build.environment to auto or rootfs",
            )
        elif python != host.python:
            yield from _interpreter(python, f"venvs.{plan.name}.python")


def _interpreter(python: Python, where: str) -> Iterator[Problem]:
    path = Path(python.executable)
    if not path.is_file():
        hint = f"install Python {python.version}, or name a Python that this host has"
        yield Problem(where=where, what=f"{path} is not installed", hint=hint)
        return
    found = ".".join(str(part) for part in probe_interpreter(path).version)
    if found != python.full_version:
        what = f"{path} is Python {found}, not {python.full_version}: bytecode belongs to one version exactly"
        yield Problem(where=where, what=what, hint=f'write python: "{found}"')


def _system_packages(plans: Iterable[VenvPlan]) -> Iterator[Problem]:
    for plan in plans:
        yield from _unlinked(plan)


def _unlinked(plan: VenvPlan) -> Iterator[Problem]:
    try:
        find_system_packages(plan.system_packages, plan.target.python)
    except VenvError as error:
        yield from (replace(problem, where=f"venvs.{plan.name}.{problem.where}") for problem in error.problems)


def _is_installed(package: str) -> bool:
    try:
        return bool(list_files(package))
    except CommandFailed:
        return False

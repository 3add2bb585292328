"""What a Python inside a container, a root file system or the like says of itself, and whether it serves a target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from bundler.buildenv.host_target import PROBE, Probe, parse_glibc, read_probe
from bundler.errors import BuildEnvironmentError, Problem
from bundler.model.target import Target

#: Runs a command line inside and returns what it printed; raises CommandFailed where it cannot.
Runner: TypeAlias = Callable[[Sequence[str]], str]
#: The last line counts: an interpreter inside may warn before it answers.
_SCRIPT = 'code=$1; shift; for python; do [ -x "$python" ] && exec "$python" -I -c "$code"; done; echo null'


def probe_inside(run: Runner, interpreters: Sequence[str], where: str) -> Probe | None:
    """Ask the first of ``interpreters`` that is there about itself; None where none is.

    Raises:
        CommandFailed: The runner's, where nothing can be run inside.
        BuildEnvironmentError: The interpreter does not work.
    """
    said = run(["/bin/sh", "-c", _SCRIPT, "sh", PROBE, *interpreters]).strip()
    answer = said.rpartition("\n")[2]
    if answer == "null":
        return None
    try:
        return read_probe(answer)
    except (ValueError, TypeError, KeyError) as error:
        raise BuildEnvironmentError(
            f"{where}: its Python does not work: {answer or 'it says nothing'}", hint="make it anew, with python3"
        ) from error


def check_serves(probe: Probe, target: Target, where: str) -> None:
    """Refuse an interpreter whose wheels would not run on ``target``; an older C library than the target's is fine.

    Raises:
        BuildEnvironmentError: All that does not fit is in ``problems``.
    """
    problems = [Problem(where=where, what=what) for what in _misfits(probe, target)]
    if problems:
        raise BuildEnvironmentError(
            f"{where} makes no wheels for {target.name}",
            hint=f"name one with Python {target.python.version} and glibc {_dotted(target.glibc)} or older for "
            f"{target.arch}, as {target.distro} {target.version} has them",
            problems=problems,
        )


def _misfits(probe: Probe, target: Target) -> Iterator[str]:
    if probe.implementation != "cpython":
        yield f"its Python is {probe.implementation}, not CPython"
    if probe.machine != target.arch:
        yield f"it is for {probe.machine}, not {target.arch}"
    version = ".".join(str(part) for part in probe.version[:2])
    if version != target.python.version:
        yield f"its Python is {version}, not {target.python.version}"
    glibc = parse_glibc(probe.libc)
    if glibc is None:
        yield f"its C library is not glibc ({probe.libc or 'unknown'})"
    elif glibc > target.glibc:
        yield f"its glibc is {_dotted(glibc)}, newer than {_dotted(target.glibc)}"


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"

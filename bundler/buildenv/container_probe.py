"""What a container of an image can do here: the limits that really hold, and its Python."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bundler.buildenv import emulation
from bundler.buildenv.container_engine import Box, Confinement, shared_memory
from bundler.buildenv.container_image import Image, does_not_run, last_line
from bundler.buildenv.container_run import enter
from bundler.buildenv.inside import check_serves, probe_inside
from bundler.errors import BuildEnvironmentError, CommandFailed
from bundler.model.target import Python, Target

_SECONDS = 120
_FOREIGN = "exec format error"
#: Limits of the container's own group, in the unified hierarchy and in the older ones.
_LIMITS = """
cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null
echo between
cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null
exit 0
"""
_BETWEEN = "between"
#: What a group without a limit on CPU time says, in either hierarchy, or does not say.
_NO_QUOTA = ("", "max", "-1")


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Which limits hold for a container's processes together, and where the Python is."""

    confinement: Confinement
    python: str


def probe_image(image: Image, target: Target, scratch: Path) -> Readiness:
    """Return what containers of ``image`` can do here; throw-away state lies in ``scratch``.

    Raises:
        BuildEnvironmentError: None can be started, or its Python does not serve the target.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    confinement = _confine(image, target, scratch)
    box = Box(image=image.id, workspace=scratch, confinement=confinement)
    where = f"image {image.name}"
    candidates = _interpreters(target.python)
    try:
        probe = probe_inside(partial(enter, image.engine, box, timeout=_SECONDS), candidates, where)
    except CommandFailed as error:
        raise BuildEnvironmentError(
            f"{where}: its Python does not run: {last_line(error)}",
            hint="install it there anew, or take another image",
        ) from error
    if probe is None:
        raise BuildEnvironmentError(
            f"{where} has no Python {target.python.version}: none of {', '.join(candidates)} is there",
            hint=f"install it there, or name another image for {target.name} in systems of the manifest",
        )
    check_serves(probe, target, where)
    return Readiness(confinement=confinement, python=probe.executable)


def _interpreters(python: Python) -> tuple[str, ...]:
    """Return where an image may have it: as the target does, as manylinux does, as images of Python do."""
    name = f"python{python.version}"
    return (python.executable, f"/opt/python/{python.tag}-{python.tag}/bin/{name}", f"/usr/local/bin/{name}")


def _confine(image: Image, target: Target, scratch: Path) -> Confinement:
    """Return the strictest confinement that a container can be started with, less what does not hold inside."""
    failures = []
    for confinement in image.engine.confinements():
        box = Box(image=image.id, workspace=scratch, confinement=confinement)
        said = _limits_inside(image, box)
        if isinstance(said, str):
            return _what_holds(confinement, box, said)
        failures.append(said)
        if said.returncode < 0 or _is_foreign(said):
            break
    raise _cannot_start(image, target, failures[0]) from failures[0]


def _limits_inside(image: Image, box: Box) -> str | CommandFailed:
    try:
        return enter(image.engine, box, ["/bin/sh", "-c", _LIMITS], timeout=_SECONDS)
    except CommandFailed as error:
        return error


def _what_holds(asked: Confinement, box: Box, said: str) -> Confinement:
    """Return ``asked`` without what the engine ignored, as some do where cgroups are not theirs to set."""
    memory, _, cpus = (part.strip() for part in said.partition(_BETWEEN))
    return replace(
        asked,
        memory=asked.memory and memory == str(shared_memory(box.limits)),
        cpus=asked.cpus and cpus.split(" ")[0] not in _NO_QUOTA,
    )


def _cannot_start(image: Image, target: Target, error: CommandFailed) -> BuildEnvironmentError:
    if not _is_foreign(error):
        return does_not_run(image.engine.name, error)
    what, hint = emulation.why_not(target) or (f"{target.arch} programs run here", "pull it for that architecture")
    return BuildEnvironmentError(
        f"image {image.name} is for another architecture than this host's; {what}", hint=hint
    )


def _is_foreign(error: CommandFailed) -> bool:
    return _FOREIGN in error.output.lower()

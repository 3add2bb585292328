"""The target of this host: its distribution, glibc and the distribution's own /usr/bin/python3.

A private interpreter (a venv's, pyenv's, uv's) is never taken: a service host does not have it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundler.errors import BuildEnvironmentError, CommandFailed, ToolMissing
from bundler.model.target import Python, Target, make_target
from bundler.model.target_names import ARCHES
from bundler.process import Command, run

INTERPRETER = Path("/usr/bin/python3")
OS_RELEASE = Path("/etc/os-release")
OLDEST = (3, 9)
#: os-release IDs that OpenStack-Ansible spells differently.
_DISTROS = {"rhel": "redhat"}
_TWO_PART = frozenset({"ubuntu"})
#: Prints a :class:`Probe` of the interpreter that runs it, as one line of JSON.
PROBE = """
import json, os, platform, sys
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (ValueError, OSError):
    libc = ""
print(json.dumps({
    "version": list(sys.version_info[:3]), "executable": os.path.realpath(sys.executable), "libc": libc,
    "prefix": sys.base_prefix, "venv": sys.prefix != sys.base_prefix, "machine": platform.machine(),
    "implementation": sys.implementation.name,
}))
"""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What the interpreter says of itself and its system."""

    version: tuple[int, int, int]
    executable: str
    libc: str
    prefix: str
    venv: bool
    machine: str
    implementation: str


def host_target(interpreter: Path = INTERPRETER, os_release: Path = OS_RELEASE) -> Target:
    """Return the target that ``auto`` means: this host with its distribution's Python.

    Raises:
        ToolMissing: There is no /usr/bin/python3.
        BuildEnvironmentError: The system is none that wheels can be made for, with the reason.
    """
    distro, version = identify(parse_os_release(_read(os_release)), os_release)
    probe = probe_interpreter(interpreter)
    glibc = check_probe(probe, interpreter)
    python = Python(full_version=".".join(map(str, probe.version)), executable=probe.executable)
    return make_target(distro, version, probe.machine, python, glibc)


def probe_interpreter(interpreter: Path) -> Probe:
    """Ask ``interpreter``, isolated from environment and user site, about itself."""
    if not interpreter.exists():
        raise ToolMissing(f"{interpreter} is not installed", hint="apt-get install python3")
    try:
        done = run(Command(argv=[str(interpreter), "-I", "-c", PROBE], env={"LC_ALL": "C.UTF-8"}), timeout=60)
        return read_probe(done.text)
    except (CommandFailed, ValueError, TypeError, KeyError) as error:
        raise BuildEnvironmentError(
            f"{interpreter} does not work: {error}", hint="apt-get install --reinstall python3"
        ) from error


def read_probe(text: str) -> Probe:
    """Return what :data:`PROBE` printed; ValueError, TypeError or KeyError where it is something else."""
    data: dict[str, Any] = json.loads(text)
    return Probe(**{**data, "version": tuple(data["version"])})


def check_probe(probe: Probe, interpreter: Path) -> tuple[int, int]:
    """Return the glibc version of a usable interpreter.

    Raises:
        BuildEnvironmentError: It is private, too old, not CPython, not on glibc, or of an unknown architecture.
    """
    at = f"{interpreter} ({probe.executable})"
    if probe.venv or Path(probe.executable).parent != interpreter.parent:
        raise BuildEnvironmentError(
            f"{at} is a private interpreter, not the distribution's", hint="apt-get install --reinstall python3"
        )
    if probe.implementation != "cpython":
        raise BuildEnvironmentError(f"{at} is {probe.implementation}, not CPython", hint="apt-get install python3")
    if probe.version < OLDEST:
        found = ".".join(map(str, probe.version))
        raise BuildEnvironmentError(
            f"{at} is Python {found}; the oldest supported is {OLDEST[0]}.{OLDEST[1]}",
            hint="build on a newer release of the distribution, or name the targets in the manifest",
        )
    if probe.machine not in ARCHES:
        raise BuildEnvironmentError(f"machine {probe.machine} is not supported", hint=f"known: {', '.join(ARCHES)}")
    return _glibc(probe.libc)


def _glibc(text: str) -> tuple[int, int]:
    version = parse_glibc(text)
    if version is None:
        raise BuildEnvironmentError(
            f"this system's C library is not glibc ({text or 'unknown'})",
            hint="targets are glibc systems; build on one, or name the targets in the manifest",
        )
    return version


def parse_glibc(text: str) -> tuple[int, int] | None:
    """Return the version in ``glibc 2.36``, None where that is another C library."""
    name, _, version = text.partition(" ")
    parts = version.split(".")
    minimum = 2
    if name != "glibc" or len(parts) < minimum or not all(part.isdigit() for part in parts[:2]):
        return None
    return int(parts[0]), int(parts[1])


def parse_os_release(text: str) -> dict[str, str]:
    """Return the assignments of an os-release file (freedesktop.org os-release(5))."""
    values = {}
    for line in text.splitlines():
        key, sign, value = line.strip().partition("=")
        if sign and not key.startswith("#"):
            try:
                words = shlex.split(value)
            except ValueError:
                continue
            values[key] = words[0] if words else ""
    return values


def identify(release: Mapping[str, str], where: Path = OS_RELEASE) -> tuple[str, str]:
    """Return distro and version as target names spell them: two parts on Ubuntu, the major elsewhere."""
    distro, version = release.get("ID", ""), release.get("VERSION_ID", "")
    if not distro or not version:
        missing = "ID" if not distro else "VERSION_ID"
        raise BuildEnvironmentError(
            f"{where} has no {missing}: this is no numbered release of a distribution",
            hint="build on a released distribution, or name the targets in the manifest",
        )
    parts = 2 if distro in _TWO_PART else 1
    return _DISTROS.get(distro, distro), ".".join(version.split(".")[:parts])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BuildEnvironmentError(
            f"cannot read {path}: {error.strerror}", hint="name the targets in the manifest instead of auto"
        ) from error

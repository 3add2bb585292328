"""Builds inside bubblewrap: no network, a system read-only, the private tree at a fixed path, nothing else.

The system is this host's or a root file system's. Of this host's ``/etc`` only what compilers and interpreters read
is visible, so that no build sees a key or a password.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundler.buildenv.environment import BUILD_ROOT
from bundler.errors import CommandFailed
from bundler.process import Command, run

#: The root of this host's own system.
HOST = Path("/")
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt")
_CONFIGURATION = (
    "alternatives",
    "crypto-policies",
    "group",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pki/tls/openssl.cnf",
    "ssl/certs",
    "ssl/openssl.cnf",
)
#: What a root file system shows besides: it holds nobody's keys.
_WHOLE = ("etc", "var/lib/dpkg", "var/lib/rpm")


@dataclass(frozen=True, kw_only=True)
class Enclosure:
    """What a command inside sees: the ``system`` (its root on this host) read-only, directories by inside path."""

    system: Path = HOST
    writable: Mapping[str, Path] = field(default_factory=dict)
    readable: Mapping[str, Path] = field(default_factory=dict)
    cwd: str = "/"


def arguments(root: Path, cwd: str, system: Path = HOST) -> list[str]:
    """Return the bubblewrap command line of a build up to the command: ``root`` is bound to /build."""
    return enclose(Enclosure(system=system, writable={str(BUILD_ROOT): root}, cwd=cwd))


def enclose(enclosure: Enclosure) -> list[str]:
    """Return the bubblewrap command line up to the command."""
    line = ["bwrap", "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000"]
    line += ["--hostname", "build", "--die-with-parent", "--new-session"]
    line += _shown(enclosure.system)
    line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp"]  # noqa: S108  # inside
    for inside, path in enclosure.readable.items():
        line += ["--ro-bind", str(path), inside]
    for inside, path in enclosure.writable.items():
        line += ["--bind", str(path), inside]
    return [*line, "--chdir", enclosure.cwd, "--"]


def _shown(system: Path) -> Iterator[str]:
    for name in _SYSTEM:
        yield from show(system, f"/{name}")
    places = tuple(f"etc/{name}" for name in _CONFIGURATION) if system == HOST else _WHOLE
    for place in places:
        yield from ("--ro-bind-try", str(system / place), f"/{place}")


def show(system: Path, place: str) -> tuple[str, ...]:
    """Return the mount that shows ``place`` (absolute) of a system at the same path inside."""
    source = system / place.lstrip("/")
    if source.is_symlink():
        return ("--symlink", str(source.readlink()), place)
    return ("--ro-bind-try", str(source), place)


def works(scratch: Path) -> bool:
    """Return whether bubblewrap is installed and may make its namespaces here."""
    return why_not(scratch) is None


def why_not(scratch: Path) -> str | None:
    """Return why bubblewrap cannot be used here, None where it can."""
    tool = shutil.which("bwrap")
    if tool is None:
        return "bubblewrap is not installed"
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        argv = [tool, *arguments(scratch, "/")[1:], "/bin/true"]
        run(Command(argv=argv, env={"PATH": "/usr/bin:/bin"}), timeout=30)
    except CommandFailed as error:
        return error.output.strip().rpartition("\n")[2] or error.message
    return None

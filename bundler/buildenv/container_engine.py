"""The command lines of container engines. podman and docker understand the same ones, but for a few options.

A build's container is thrown away, has no network and no capabilities, sees its image read-only and one directory of
this host, and is never fetched from anywhere.
"""

from __future__ import annotations

import csv
import io
import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundler.buildenv.environment import BUILD_ROOT
from bundler.buildenv.limits import Limits

ENGINES = ("podman", "docker")
#: Files and processes at once: what compilers use, many times over. As little as we may have ourselves, if less: only
#: root may raise a limit.
_MOST_FILES = 65536
_MOST_PROCESSES = 16384
_PRIVATE = "rw,exec,nosuid,nodev,mode=1777"
_COMMON = (
    "--rm",
    "--pull=never",
    "--network=none",
    "--hostname=build",
    "--ipc=private",
    "--read-only",
    f"--tmpfs=/tmp:{_PRIVATE}",
    f"--tmpfs=/var/tmp:{_PRIVATE}",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    # Else a system with SELinux would have to relabel the workspace for every command.
    "--security-opt=label=disable",
    # Output goes through us to the build's log, and is kept there only.
    "--log-driver=none",
    "--no-healthcheck",
    "--entrypoint=/bin/sh",
)
#: What docker does not know; its defaults are the same. podman's own could be changed in containers.conf.
_PODMAN = (
    "--pid=private",
    "--uts=private",
    "--http-proxy=false",
    "--image-volume=ignore",
    "--no-hosts",
    "--read-only-tmpfs=false",
)
#: The first process inside: it runs the command and ends with it, or when we end, whichever is first. Nobody else
#: would end it with us: the engine's client, which ends with us, is not its parent. With it everything inside ends.
FIRST_PROCESS = """
trap 'exit 143' TERM
umask 022
{ read -r end <"$1"; kill -s TERM 1; } &
shift
"$@" </dev/null 2>&1 &
wait $!
exit $?
"""


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """What the engine can limit here for all processes of a container together; ``cgroups``: it may make them at all.

    Memory and CPU time of each single process are always limited.
    """

    memory: bool = True
    cpus: bool = True
    cgroups: bool = True


#: From the best to the least.
CONFINEMENTS = (
    Confinement(),
    Confinement(cpus=False),
    Confinement(cpus=False, memory=False),
    Confinement(cpus=False, memory=False, cgroups=False),
)


@dataclass(frozen=True, kw_only=True)
class Box:
    """One container: of which image (its digest), with which ``workspace`` at /build, under which limits."""

    image: str
    workspace: Path
    cwd: str = "/"
    limits: Limits = field(default_factory=Limits)
    confinement: Confinement = field(default_factory=Confinement)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """``podman`` or ``docker``. Rootless: the container's root is who started the engine, and no more than that."""

    name: str
    rootless: bool = False

    @property
    def as_root(self) -> bool:
        """Return whether commands run as this host's root, who was who started us."""
        return not self.rootless and os.geteuid() == 0

    def confinements(self) -> tuple[Confinement, ...]:
        """Return what to try, best first: docker always makes cgroups."""
        return tuple(one for one in CONFINEMENTS if one.cgroups or self.name == "podman")

    def line(self, box: Box, pipe: str, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs ``argv`` in ``box``; it ends when ``pipe`` (as seen inside) says so."""
        line = [self.name, "run", *_COMMON]
        line += self._own()
        line += [f"--workdir={box.cwd}", *_limits(box.limits), *_shared_limits(box.limits, box.confinement)]
        line += [f"--mount={_mount(box.workspace)}", box.image, "-c", FIRST_PROCESS]
        return [*line, "sh", pipe, *argv]

    def _own(self) -> list[str]:
        """Return what makes files in the workspace belong to who runs us, and the engine's peculiarities."""
        owner = "0:0" if self.rootless else f"{os.geteuid()}:{os.getegid()}"
        if self.name == "podman":
            return [f"--user={owner}", *_PODMAN]
        # A daemon that maps users maps them to nobody on this host.
        return [f"--user={owner}", *(() if self.rootless else ("--userns=host",))]


def shared_memory(limits: Limits) -> int:
    """Return how much all processes of a build may take together, in bytes."""
    return limits.data_bytes


def shared_cpus() -> int:
    """Return how many CPUs a build may keep busy: those that this process may use."""
    return len(os.sched_getaffinity(0))


def _limits(limits: Limits) -> list[str]:
    figures = {
        "core": 0,
        "cpu": limits.cpu_seconds,
        "data": limits.data_bytes,
        "nofile": _at_most(resource.RLIMIT_NOFILE, _MOST_FILES),
        "nproc": _at_most(resource.RLIMIT_NPROC, _MOST_PROCESSES),
    }
    return [f"--ulimit={name}={figure}:{figure}" for name, figure in figures.items()]


def _at_most(which: int, wanted: int) -> int:
    hard = resource.getrlimit(which)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)


def _shared_limits(limits: Limits, confinement: Confinement) -> list[str]:
    line = [] if confinement.cgroups else ["--cgroups=disabled"]
    if confinement.memory:
        most = shared_memory(limits)
        line += [f"--memory={most}", f"--memory-swap={most}", f"--pids-limit={_MOST_PROCESSES}"]
    if confinement.cpus:
        line.append(f"--cpus={shared_cpus()}")
    return line


def _mount(workspace: Path) -> str:
    """Return the mount of a workspace; engines read the list as CSV (RFC 4180), so that any name can be said."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(["type=bind", f"source={workspace}", f"target={BUILD_ROOT}"])
    return text.getvalue()

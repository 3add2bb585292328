"""The ``rootfs`` build environment: builds run in a root file system of the target, inside bubblewrap.

They see its system read-only, their private tree, and nothing of this host: no network, no home, no environment. A
foreign architecture runs by qemu-user, which the kernel starts (binfmt_misc with the F flag).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bundler.buildenv import bubblewrap, limits
from bundler.buildenv.emulation import SLOWDOWN
from bundler.buildenv.environment import BUILD_ROOT, SYSTEM_PATH, make_directories, variables, with_umask
from bundler.buildenv.port import VENV, BuildCommand, EnvironmentSpec, Workspace
from bundler.buildenv.wheel_install import install_wheels
from bundler.errors import BuildEnvironmentError, CommandFailed
from bundler.model.target import Target
from bundler.process import Command, run

_VERSION = "import os, sys; print(*sys.version_info[:3], sep='.'); print(os.confstr('CS_GNU_LIBC_VERSION'))"


class RootfsEnvironment:
    """Builds in the root file system ``spec.system``, with the target's own interpreter."""

    name = "rootfs"

    def __init__(self, spec: EnvironmentSpec) -> None:
        self._spec = spec

    @classmethod
    def open(cls, spec: EnvironmentSpec) -> RootfsEnvironment:
        """Return the environment of ``spec``."""
        return cls(spec)

    @property
    def spec(self) -> EnvironmentSpec:
        """Return what opens the same environment in another process."""
        return self._spec

    @property
    def target(self) -> Target:
        """Return the target that the root file system is of."""
        return self._spec.target

    def describe(self) -> tuple[str, ...]:
        """Return what is not isolated from this host."""
        return () if limits.available() else ("memory and CPU time",)

    def create(self, root: Path, wheels: Mapping[str, Path]) -> Workspace:
        """Make the directories, the venv and its wheels; see :class:`bundler.buildenv.port.BuildEnvironment`."""
        workspace = Workspace(root=root, seen_at=BUILD_ROOT)
        make_directories(root)
        argv = [self.target.python.executable, "-I", "-m", "venv", "--without-pip", "--symlinks"]
        try:
            self._enter(root, [*argv, str(BUILD_ROOT / VENV)])
        except CommandFailed as error:
            raise BuildEnvironmentError(
                f"{self.target.name}: no venv can be made in {self._spec.system}: {_last(error)}",
                hint="make the root file system anew: run again with --refresh",
            ) from error
        install_wheels(wheels, workspace, self.target.python.version)
        return workspace

    def run(self, workspace: Workspace, command: BuildCommand) -> None:
        """Run ``command`` inside, under its limits and umask 022."""
        argv = [*limits.prefix(command.limits)]
        argv += bubblewrap.arguments(workspace.root, command.cwd, self._spec.system)
        argv += with_umask(command.argv)
        seconds = command.limits.wall_seconds * (SLOWDOWN if self._spec.emulated else 1)
        env = variables(workspace, command)
        run(Command(argv=argv, env=env, cwd=workspace.root), log=command.log, timeout=seconds)

    def _enter(self, root: Path, argv: list[str]) -> str:
        command = [*bubblewrap.arguments(root, str(BUILD_ROOT), self._spec.system), *with_umask(argv)]
        return run(Command(argv=command, env={"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}, cwd=root), timeout=600).text


def check_python(system: Path, target: Target) -> None:
    """Refuse a root file system whose interpreter or C library is not the target's: locks and bytecode go by them.

    Raises:
        BuildEnvironmentError: It does not run, or is of another version.
    """
    argv = [*bubblewrap.enclose(bubblewrap.Enclosure(system=system)), target.python.executable, "-I", "-c", _VERSION]
    try:
        said = run(Command(argv=argv, env={"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}), timeout=300).text.split("\n")
    except CommandFailed as error:
        raise BuildEnvironmentError(
            f"{target.name}: {target.python.executable} does not run in its root file system: {_last(error)}",
            hint="is the suite in systems the right one? for a foreign architecture: sh scripts/prepare-host",
        ) from error
    version, libc = said[0], said[1]
    wanted = f"glibc {target.glibc[0]}.{target.glibc[1]}"
    if version != target.python.full_version or libc != wanted:
        raise BuildEnvironmentError(
            f"{target.name}: its root file system has Python {version} and {libc}, "
            f"not {target.python.full_version} and {wanted}",
            hint="name the right suite in systems of the manifest; a newer bundle-build may know this release",
        )


def _last(error: CommandFailed) -> str:
    return error.output.strip().rpartition("\n")[2] or error.message

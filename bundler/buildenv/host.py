"""The ``host`` build environment: builds run on this host, for this host's own target.

Where bubblewrap works a build sees no network, no home and a fixed path; elsewhere it runs in its private directory
with the same minimal environment, and :meth:`HostEnvironment.describe` says what that leaves open.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

from bundler.buildenv import bubblewrap, limits
from bundler.buildenv.environment import BUILD_ROOT, SYSTEM_PATH, make_directories, variables, with_umask
from bundler.buildenv.host_target import host_target
from bundler.buildenv.port import HOME, VENV, BuildCommand, EnvironmentSpec, Workspace
from bundler.buildenv.wheel_install import install_wheels
from bundler.errors import BuildEnvironmentError, CommandFailed
from bundler.model.target import Target
from bundler.process import Command, run

_NOT_ISOLATED = ("network", "file system", "process tree", "build path (mapped away in C and C++ only)")


class HostEnvironment:
    """Builds on this host with /usr/bin/python3 (or the interpreter of ``target``)."""

    name = "host"

    def __init__(self, scratch: Path, *, target: Target | None = None, isolate: bool = True) -> None:
        """Keep throw-away state below ``scratch``; ``isolate=False`` does without bubblewrap."""
        self._scratch = scratch
        self._isolate = isolate
        self._target = target

    @classmethod
    def open(cls, spec: EnvironmentSpec) -> HostEnvironment:
        """Return the environment of ``spec``."""
        return cls(spec.scratch, target=spec.target, isolate=spec.isolate)

    @cached_property
    def target(self) -> Target:
        """Return the host's own target, probed once."""
        return self._target or host_target()

    @property
    def spec(self) -> EnvironmentSpec:
        """Return what opens the same environment in another process."""
        return EnvironmentSpec(driver=self.name, target=self.target, scratch=self._scratch, isolate=self._isolate)

    @cached_property
    def isolated(self) -> bool:
        """Return whether builds run inside bubblewrap."""
        return self._isolate and bubblewrap.works(self._scratch / "bubblewrap-probe")

    def describe(self) -> tuple[str, ...]:
        """Return what is not isolated from this host."""
        open_parts = () if self.isolated else _NOT_ISOLATED
        return open_parts if limits.available() else (*open_parts, "memory and CPU time")

    def create(self, root: Path, wheels: Mapping[str, Path]) -> Workspace:
        """Make the directories, the venv and its wheels; see :class:`bundler.buildenv.port.BuildEnvironment`."""
        workspace = Workspace(root=root, seen_at=BUILD_ROOT if self.isolated else PurePosixPath(root))
        make_directories(root)
        self._make_venv(root)
        install_wheels(wheels, workspace, self.target.python.version)
        return workspace

    def _make_venv(self, root: Path) -> None:
        options = ["--no-seed", "--no-download", "--no-periodic-update", "--no-vcs-ignore", "--activators", "bash"]
        argv = [sys.executable, "-I", "-m", "virtualenv", "--quiet", *options]
        argv += ["--app-data", str(self._scratch / "virtualenv"), "--python", self.target.python.executable]
        env = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", "HOME": str(root / HOME)}
        env["VIRTUALENV_CONFIG_FILE"] = "/dev/null"
        try:
            run(Command(argv=[*argv, str(root / VENV)], env=env), timeout=300)
        except CommandFailed as error:
            raise BuildEnvironmentError(
                f"cannot make a venv of {self.target.python.executable}: {error.output.strip() or error.message}",
                hint="apt-get install python3, and see the message above",
            ) from error

    def run(self, workspace: Workspace, command: BuildCommand) -> None:
        """Run ``command`` inside bubblewrap where that works, under its limits and umask 022."""
        argv = [*limits.prefix(command.limits)]
        if self.isolated:
            argv += bubblewrap.arguments(workspace.root, command.cwd)
        argv += with_umask(command.argv)
        cwd = workspace.root if self.isolated else Path(command.cwd)
        env = self._environment(workspace, command)
        run(Command(argv=argv, env=env, cwd=cwd), log=command.log, timeout=command.limits.wall_seconds)

    def _environment(self, workspace: Workspace, command: BuildCommand) -> dict[str, str]:
        env = variables(workspace, command)
        if not self.isolated:
            for name in ("CFLAGS", "CXXFLAGS"):
                mapping = f"-ffile-prefix-map={workspace.root}={BUILD_ROOT}"
                env[name] = f"{env.get(name, '')} {mapping}".strip()
        return env

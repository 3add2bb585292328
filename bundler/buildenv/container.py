"""The ``container`` build environment: builds run in containers of an image, by podman or docker.

The image is on this host already: a distribution's, manylinux, or one of the user's own. It has the target's Python,
at its place or where manylinux has it, and a C library no newer than the target's. Builds see it read-only, their
private tree, and nothing of this host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bundler.buildenv import emulation
from bundler.buildenv.container_engine import Box
from bundler.buildenv.container_image import Image, find_image, last_line
from bundler.buildenv.container_probe import Readiness, probe_image
from bundler.buildenv.container_run import enter
from bundler.buildenv.emulation import SLOWDOWN
from bundler.buildenv.environment import BUILD_ROOT, make_directories, variables
from bundler.buildenv.port import VENV, BuildCommand, EnvironmentSpec, Workspace
from bundler.buildenv.wheel_install import install_wheels
from bundler.errors import BuildEnvironmentError, CommandFailed
from bundler.model.target import Target

_VENV_SECONDS = 600


class ContainerEnvironment:
    """Builds in containers of ``image``, which are as ``readiness`` says."""

    name = "container"

    def __init__(self, spec: EnvironmentSpec, image: Image, readiness: Readiness) -> None:
        self._spec = replace(spec, identity=image.identity, emulated=emulation.is_foreign(spec.target))
        self._image = image
        self._readiness = readiness

    @classmethod
    def open(cls, spec: EnvironmentSpec) -> ContainerEnvironment:
        """Return the environment of ``spec``, once a container has been started.

        Raises:
            BuildEnvironmentError: No engine works, or the image is not there or does not serve the target.
        """
        if not spec.image:
            raise BuildEnvironmentError(
                f"no image is named for {spec.target.name}", hint="set systems.<target>.image in the manifest"
            )
        image = find_image(spec.image)
        if spec.identity not in ("", image.identity):
            raise BuildEnvironmentError(
                f"image {spec.image} is another one than when this run began", hint="run again: it takes the new one"
            )
        return cls(spec, image, probe_image(image, spec.target, spec.scratch / "container-probe"))

    @property
    def spec(self) -> EnvironmentSpec:
        """Return what opens the same environment in another process, or none if the image has changed."""
        return self._spec

    @property
    def target(self) -> Target:
        """Return the target that the image serves."""
        return self._spec.target

    def describe(self) -> tuple[str, ...]:
        """Return what is not isolated from this host."""
        found = []
        if self._image.engine.as_root:
            found.append("user (root, but without its capabilities)")
        if not self._readiness.confinement.memory:
            found.append("memory of all processes of a build together")
        if not self._readiness.confinement.cpus:
            found.append("number of CPUs")
        return tuple(found)

    def create(self, root: Path, wheels: Mapping[str, Path]) -> Workspace:
        """Make the directories, the venv and its wheels; see :class:`bundler.buildenv.port.BuildEnvironment`."""
        workspace = Workspace(root=root, seen_at=BUILD_ROOT)
        make_directories(root)
        argv = [self._readiness.python, "-I", "-m", "venv", "--without-pip", "--symlinks", str(BUILD_ROOT / VENV)]
        try:
            enter(self._image.engine, self._box(root), argv, timeout=_VENV_SECONDS)
        except CommandFailed as error:
            raise BuildEnvironmentError(
                f"no venv can be made in image {self._image.name}: {last_line(error)}",
                hint="its Python needs the whole standard library: on Debian python3, not python3-minimal",
            ) from error
        install_wheels(wheels, workspace, self.target.python.version)
        return workspace

    def run(self, workspace: Workspace, command: BuildCommand) -> None:
        """Run ``command`` in a container of its own, under its limits and umask 022."""
        env = {**self._image.env, **variables(workspace, command, self._image.path)}
        # Engines add variables of their own, and those of their configuration.
        argv = ["env", "-i", *(f"{name}={value}" for name, value in env.items()), *command.argv]
        box = replace(self._box(workspace.root), cwd=command.cwd, limits=command.limits)
        seconds = command.limits.wall_seconds * (SLOWDOWN if self._spec.emulated else 1)
        enter(self._image.engine, box, argv, timeout=seconds, log=command.log)

    def _box(self, root: Path) -> Box:
        return Box(image=self._image.id, workspace=root, confinement=self._readiness.confinement)

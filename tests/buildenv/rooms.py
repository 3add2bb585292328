"""A build environment under test: a workspace of it, and commands that run there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.buildenv.limits import Limits
from bundler.buildenv.port import BuildCommand, BuildEnvironment, Workspace

EPOCH = 1_700_000_000


@dataclass(frozen=True)
class Room:
    """A workspace with a log beside it."""

    environment: BuildEnvironment
    workspace: Workspace

    @property
    def log(self) -> Path:
        return self.workspace.root.with_name(f"{self.workspace.root.name}.log")

    def command(self, script: str, limits: Limits | None = None) -> BuildCommand:
        return BuildCommand(
            argv=["/bin/sh", "-c", script],
            cwd=str(self.workspace.seen_at),
            log=self.log,
            epoch=EPOCH,
            env={"FROM_MANIFEST": "yes; it's"},
            limits=limits or Limits(),
        )

    def shell(self, script: str, limits: Limits | None = None) -> str:
        """Return what ``script`` printed, without white space around it."""
        self.log.unlink(missing_ok=True)
        self.environment.run(self.workspace, self.command(script, limits))
        return self.log.read_text().strip()


def room_of(environment: BuildEnvironment, root: Path, *wheels: Path) -> Room:
    """Return a new workspace at ``root`` whose venv holds ``wheels``."""
    root.mkdir(parents=True)
    return Room(environment, environment.create(root, {wheel.name: wheel for wheel in wheels}))

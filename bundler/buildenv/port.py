"""The port of build environments: where a source is compiled for a target.

A driver gives a private tree (:class:`Workspace`) with an isolated venv of the target's interpreter, and runs
commands in it. Paths have two names: where this process sees them, and where a command of the build sees them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from bundler.buildenv.limits import Limits
from bundler.model.target import Target

#: Directories of a workspace beside the source tree.
VENV, HOME, TEMPORARY, OUTPUT = "venv", "home", "tmp", "out"


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """One build's private tree: ``root`` on this host, ``seen_at`` inside the build."""

    root: Path
    seen_at: PurePosixPath

    def inside(self, path: Path) -> str:
        """Return the name that commands of the build know ``path`` by; ValueError where it is not below the root."""
        return str(self.seen_at / path.relative_to(self.root))

    @property
    def python(self) -> str:
        """Return the build venv's interpreter, as commands see it."""
        return self.inside(self.root / VENV / "bin" / "python")

    @property
    def output(self) -> Path:
        """Return the directory for results, on this host."""
        return self.root / OUTPUT


@dataclass(frozen=True, kw_only=True)
class BuildCommand:
    """A command of a build: ``argv`` and ``cwd`` name paths as the build sees them, ``log`` as this host does.

    ``env`` comes on top of the minimal environment; ``epoch`` becomes SOURCE_DATE_EPOCH.
    """

    argv: Sequence[str]
    cwd: str
    log: Path
    epoch: int
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """Which build environment, as a plain value: any process of this host opens the same one from it.

    ``system`` is the root of the file system that builds see, ``image`` a container's image. ``identity`` is a digest
    of what is installed there, empty for this host: it goes into the key of every wheel. ``emulated``: the target's
    programs run under an emulator, so they take many times as long. ``isolate``: shut off from this host as far as
    that can be had here.
    """

    driver: str
    target: Target
    scratch: Path
    system: Path = Path("/")
    image: str = ""
    identity: str = ""
    emulated: bool = False
    isolate: bool = True


class BuildEnvironment(Protocol):
    """Where wheels of one target are compiled."""

    name: str

    @property
    def spec(self) -> EnvironmentSpec:
        """Return what opens the same environment in another process."""
        ...

    @property
    def target(self) -> Target:
        """Return the target whose interpreter and C library builds see."""
        ...

    def describe(self) -> tuple[str, ...]:
        """Return what is *not* isolated from this host; empty when all is."""
        ...

    def create(self, root: Path, wheels: Mapping[str, Path]) -> Workspace:
        """Make a workspace in the empty directory ``root`` with a venv that holds ``wheels`` (file name → file).

        Raises:
            BuildEnvironmentError: The venv cannot be made, or a wheel does not install.
        """
        ...

    def run(self, workspace: Workspace, command: BuildCommand) -> None:
        """Run ``command``, its output appended to its log.

        Raises:
            CommandFailed: Its status was not 0, or a limit was reached.
        """
        ...

"""What builds need: store, sources, build environments, an executor, and what they may take of this host."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundler.buildenv.port import BuildEnvironment
from bundler.errors import BuildError
from bundler.events import Emit, ignore
from bundler.model.manifest import Build, PackageBuild
from bundler.model.target import Target
from bundler.store.cas import Store
from bundler.wheels.drivers import choose_executor
from bundler.wheels.executor import Executor
from bundler.wheels.source import Sources

_PART_OF_MEMORY = 0.8
_MEMORY = Path("/proc/meminfo")


def available_memory() -> int:
    """Return how much memory builds may take together, in MiB."""
    lines = _MEMORY.read_text().splitlines() if _MEMORY.is_file() else []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(int(line.split()[1]) / 1024 * _PART_OF_MEMORY)
    return 2048


def local_executor(slots: int) -> Executor:
    """Return the executor that carries out jobs on this host."""
    return choose_executor("local", slots)


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where and within what builds run.

    ``environments`` maps target names to where they are built. ``memory`` (MiB) and ``slots`` (processors) bound what
    runs at once. ``executor`` makes what carries out so many jobs at once.
    """

    store: Store
    sources: Sources
    environments: Mapping[str, BuildEnvironment]
    settings: Build = field(default_factory=Build)
    emit: Emit = ignore
    memory: int = field(default_factory=available_memory)
    slots: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    executor: Callable[[int], Executor] = local_executor

    def environment(self, target: Target) -> BuildEnvironment:
        """Return where wheels of ``target`` are built.

        Raises:
            BuildError: There is no build environment for it; no other target's will do.
        """
        found = self.environments.get(target.name)
        if found is None:
            raise BuildError(
                f"nothing can be built for {target.name}: no build environment", hint="build on that system"
            )
        return found

    def settings_of(self, name: str) -> PackageBuild:
        """Return how the package called ``name`` is built."""
        return self.settings.packages.get(name, PackageBuild())

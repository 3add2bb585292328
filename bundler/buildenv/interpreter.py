"""An interpreter of a target that this host can run: its own, or one inside a root file system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bundler.buildenv import bubblewrap
from bundler.model.target import Python


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """``python`` of the system whose root on this host is ``system``."""

    python: Python
    system: Path = bubblewrap.HOST

    @property
    def is_host(self) -> bool:
        """Return whether it is this host's own."""
        return self.system == bubblewrap.HOST

    @property
    def exists(self) -> bool:
        """Return whether it is installed."""
        return self.is_host is False or Path(self.python.executable).is_file()

    def prefix(self, writable: Mapping[str, Path], readable: Mapping[str, Path]) -> list[str]:
        """Return what to put before a command line of it: nothing here, the way into its system elsewhere.

        Directories and files are seen by the names that the mappings give them.
        """
        if self.is_host:
            return []
        return bubblewrap.enclose(bubblewrap.Enclosure(system=self.system, writable=writable, readable=readable))

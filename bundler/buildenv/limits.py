"""How much one build may take, enforced by the kernel through prlimit(1) and a time-out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

MIB = 1 << 20
#: A process may use this many times the declared memory before the kernel says no: the declared figure is for
#: scheduling, and compilers differ between releases.
SLACK = 4
FLOOR = 4096


@dataclass(frozen=True, kw_only=True)
class Limits:
    """``memory`` in MiB as declared in the manifest, per process; ``seconds`` of CPU per process and of wall time."""

    memory: int = 1024
    cpu_seconds: int = 2 * 3600
    wall_seconds: int = 4 * 3600

    @property
    def data_bytes(self) -> int:
        """Return the RLIMIT_DATA of each process: private writable memory, which excludes mere reservations."""
        return max(self.memory * SLACK, FLOOR) * MIB


def available() -> bool:
    """Return whether prlimit(1) is installed."""
    return shutil.which("prlimit") is not None


def prefix(limits: Limits) -> tuple[str, ...]:
    """Return what to put before a command so that it runs under ``limits``; nothing without prlimit(1)."""
    if not available():
        return ()
    return ("prlimit", f"--data={limits.data_bytes}", f"--cpu={limits.cpu_seconds}", "--core=0", "--")

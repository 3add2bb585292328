"""Whether this host runs programs of another architecture: through binfmt_misc, registered with the F flag.

The F flag makes the kernel open the emulator at registration, so that it works inside root file systems that do not
hold it (kernel documentation, admin-guide/binfmt-misc).
"""

from __future__ import annotations

import platform
from pathlib import Path

from bundler.model.target import Target

BINFMT = Path("/proc/sys/fs/binfmt_misc")
#: An emulated program takes so many times as long as one of this host's own architecture.
SLOWDOWN = 10
_HINT = "sh scripts/prepare-host sets it up (as root: apt-get install qemu-user-static, register it with the F flag)"


def is_foreign(target: Target) -> bool:
    """Return whether the target's programs need an emulator here."""
    return platform.machine() != target.arch


def why_not(target: Target, binfmt: Path = BINFMT) -> tuple[str, str] | None:
    """Return why a foreign target's programs cannot run here, and what to do; None where they can."""
    if not (binfmt / "status").is_file():
        return f"{target.arch} programs cannot run here: binfmt_misc is not mounted", _HINT
    entry = binfmt / f"qemu-{target.arch}"
    if not entry.is_file():
        return f"{target.arch} programs cannot run here: qemu-{target.arch} is not registered", _HINT
    lines = entry.read_text(encoding="utf-8").splitlines()
    if "enabled" not in lines:
        return f"qemu-{target.arch} is registered, but disabled", f"as root: echo 1 > {entry}"
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags:")), "")
    if "F" not in flags:
        return f"qemu-{target.arch} is registered without the F flag: it is not found inside root file systems", _HINT
    return None

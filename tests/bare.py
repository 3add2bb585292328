"""Bare Debian systems, made once for all workers of a run, and entered without a network."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Bare:
    """A root file system with python3 and OpenSSH; ``binds`` are host directories by their path inside."""

    root: Path
    binds: Mapping[str, Path] = field(default_factory=dict)

    def run(self, *argv: str, status: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        binds = [word for inside, outside in self.binds.items() for word in ("--bind", str(outside), inside)]
        done = subprocess.run(
            [
                "bwrap", "--unshare-all", "--die-with-parent", "--bind", str(self.root), "/", "--dev", "/dev",
                "--proc", "/proc", "--tmpfs", "/tmp", *binds, "--clearenv", "--setenv", "PATH",
                "/usr/sbin:/usr/bin:/sbin:/bin", "--setenv", "HOME", "/root", "--", *argv,
            ],
            input=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


def make_bare(suite: str, shared: Path, *packages: str) -> Path:
    """Return the root file system of a Debian ``suite`` below ``shared``, made by the first who asks.

    It has ``packages`` besides python3 and OpenSSH.
    """
    root = shared / "-".join(["rootfs", suite, *packages])
    with root.with_name(f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "usr/bin/python3").exists():
            subprocess.run(["sh", str(ROOT / "scripts/make-rootfs"), suite, str(root), *packages], check=True)
    return root

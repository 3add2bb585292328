"""Builds inside bubblewrap: no network, the system read-only, the private tree at a fixed path, nothing else.

Of ``/etc`` only what compilers and interpreters read is visible, so that no build sees a key or a password.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from bundler.errors import CommandFailed
from bundler.process import Command, run

#: Where a build sees its private tree, on every host and in every run.
BUILD_ROOT = PurePosixPath("/build")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt")
_CONFIGURATION = (
    "/etc/alternatives",
    "/etc/crypto-policies",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/tls/openssl.cnf",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
)


def arguments(root: Path, cwd: str) -> list[str]:
    """Return the bubblewrap command line up to the command: ``root`` is bound to :data:`BUILD_ROOT`."""
    line = ["bwrap", "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000"]
    line += ["--hostname", "build", "--die-with-parent", "--new-session"]
    for place in _SYSTEM:
        line += _system(Path(place))
    for place in _CONFIGURATION:
        line += ["--ro-bind-try", place, place]
    line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp"]  # noqa: S108  # inside
    return [*line, "--bind", str(root), str(BUILD_ROOT), "--chdir", cwd, "--"]


def _system(place: Path) -> Sequence[str]:
    if place.is_symlink():
        return ("--symlink", str(place.readlink()), str(place))
    return ("--ro-bind-try", str(place), str(place))


def works(scratch: Path) -> bool:
    """Return whether bubblewrap is installed and may make its namespaces here."""
    if shutil.which("bwrap") is None:
        return False
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        run(Command(argv=[*arguments(scratch, "/"), "/bin/true"], env={"PATH": "/usr/bin:/bin"}), timeout=30)
    except CommandFailed:
        return False
    return True

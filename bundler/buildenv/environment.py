"""What every build sees, whichever driver runs it: its directories, its variables, its umask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from bundler.buildenv.port import HOME, OUTPUT, TEMPORARY, VENV, BuildCommand, Workspace

#: Where an isolated build sees its private tree, on every host and in every run.
BUILD_ROOT = PurePosixPath("/build")
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


def make_directories(root: Path) -> None:
    """Make the directories of a workspace, but for its venv."""
    for part in (HOME, TEMPORARY, OUTPUT):
        (root / part).mkdir()


def variables(workspace: Workspace, command: BuildCommand, path: str = SYSTEM_PATH) -> dict[str, str]:
    """Return the whole environment of ``command``: fixed values, the venv before ``path``, its own on top."""
    seen = workspace.seen_at
    return {
        "HOME": str(seen / HOME),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PATH": f"{seen / VENV / 'bin'}:{path}",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PIP_NO_INDEX": "1",
        "SOURCE_DATE_EPOCH": str(command.epoch),
        "TMPDIR": str(seen / TEMPORARY),
        "TZ": "UTC",
        "VIRTUAL_ENV": str(seen / VENV),
        **command.env,
    }


def with_umask(argv: Sequence[str]) -> list[str]:
    """Return ``argv`` so that it runs under umask 022, whatever ours is."""
    return ["/bin/sh", "-c", 'umask 022; exec "$@"', "sh", *argv]

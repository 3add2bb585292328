"""Copies of media on the deployment host that no longer serve a purpose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler import files
from bundler.deploy.places import Places
from bundler.deploy.state import read_state
from bundler.errors import StoreError


@dataclass(frozen=True, kw_only=True)
class LocalPlan:
    """Directories below staging, and how many bytes they hold."""

    paths: tuple[Path, ...] = ()
    size: int = 0


def plan_local(places: Places) -> LocalPlan:
    """Return the staged copies of all bundles but the newest of each line: that one is what repair takes from."""
    if not places.staging.is_dir():
        return LocalPlan()
    newest = {seen.digest for seen in read_state(places).seen.values()}
    paths = tuple(sorted(path for path in places.staging.iterdir() if path.name not in newest))
    return LocalPlan(paths=paths, size=sum(_size(path) for path in paths))


def prune_local(plan: LocalPlan) -> None:
    """Remove what the plan names.

    Raises:
        StoreError: Some of it cannot be removed; the rest was.
    """
    for path in plan.paths:
        files.remove(path)
    left = [path for path in plan.paths if path.exists()]
    if left:
        raise StoreError(
            f"{len(left)} staged copies cannot be removed, the first: {left[0]}", hint="is its disk failing?"
        )


def _size(path: Path) -> int:
    entries = path.iterdir() if path.is_dir() and not path.is_symlink() else (path,)
    return sum(entry.lstat().st_blocks * 512 for entry in entries)

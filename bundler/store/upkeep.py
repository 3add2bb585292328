"""Keeping a store: what it holds, what nobody used for long, whether every blob is still what its name says."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bundler.files import remove
from bundler.store.cas import Store


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file or tree that can go by itself: its kind (``blobs``, ``refs``, …), bytes, and when it was last used."""

    kind: str
    path: Path
    size: int
    used: float


#: What pruning looks at: the kind is the directory, the pattern says what in it goes as one.
_PATTERNS = {
    "blobs": "*/*",
    "failed": "*",
    "git": "*.git",
    "logs": "**/*.log",
    "refs": "*/*/*",
    "rootfs": "*",
    "tmp": "*",
}
#: Kinds whose entries have a lock beside them.
_GUARDED = ("git", "rootfs")


def entries(store: Store) -> Iterator[Entry]:
    """Yield everything in the store that pruning may remove, by kind and path."""
    for kind, pattern in sorted(_PATTERNS.items()):
        for path in sorted((store.root / kind).glob(pattern)):
            # A lock is stamped whenever what it guards is used; that itself only when it changes.
            stamped = path.with_suffix(".lock") if kind in _GUARDED else path
            if stamped.exists():
                yield Entry(kind=kind, path=path, size=_size(path), used=stamped.stat().st_mtime)


def forget(entry: Entry) -> None:
    """Remove an entry."""
    remove(entry.path)
    if entry.kind in _GUARDED:
        remove(entry.path.with_suffix(".lock"))


def time_of(store: Store) -> float:
    """Return the time by the clock that stamps the store's files, which may be another host's."""
    with store.workdir("time") as fresh:
        return fresh.stat().st_mtime


def usage(store: Store) -> dict[str, tuple[int, int]]:
    """Return how many files each directory of the store has, and how many bytes; links to one file count once."""
    found = {}
    for place in sorted(path for path in store.root.iterdir() if path.is_dir()):
        files = {(status.st_dev, status.st_ino): status.st_size for status in _files(place)}
        found[place.name] = (len(files), sum(files.values()))
    return found


def blob_files(store: Store) -> list[Path]:
    """Return the files that lie where blobs do."""
    return sorted(path for path in (store.root / "blobs").glob("*/*") if path.is_file())


def remove_damaged(store: Store, paths: list[Path], workers: int, progress: Callable[[int], None]) -> list[Path]:
    """Read all of ``paths``, in parallel; remove those that are not what their names say, and return them."""

    def sound(path: Path) -> bool:
        size = _size(path)
        good = path == store.path(path.name) and store.verify(path.name)
        progress(size)
        return good

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="store") as pool:
        damaged = [path for path, good in zip(paths, pool.map(sound, paths), strict=True) if not good]
    for path in damaged:
        remove(path)
    return damaged


def _size(path: Path) -> int:
    return sum(status.st_size for status in _files(path))


def _files(path: Path) -> Iterator[os.stat_result]:
    """Yield the status of every regular file at or below ``path``; what goes meanwhile is passed over."""
    try:
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            for child in path.iterdir():
                yield from _files(child)
        elif stat.S_ISREG(status.st_mode):
            yield status
    except (FileNotFoundError, PermissionError):
        return

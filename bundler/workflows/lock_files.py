"""A lock's directory: read it, and put a new one in its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bundler.errors import UsageError
from bundler.files import recover_directory, replacing_directory, write
from bundler.model.lock import Lock
from bundler.model.lock_json import INDEX, lock_files, read_lock
from bundler.model.target import Target


def default_lock_dir(manifest: Path) -> Path:
    """Return the directory beside ``manifest`` that is named after it."""
    return manifest.with_suffix(".lock")


def load_lock(directory: Path) -> Lock:
    """Return the lock in ``directory``.

    Raises:
        LockInvalid: There is none, or it is not what we write.
    """
    return read_lock(lambda path: (directory / path).read_bytes(), str(directory))


def find_lock(directory: Path) -> Lock | None:
    """Return the lock in ``directory``, or None where there is none.

    Raises:
        LockInvalid: It is not what we write.
        UsageError: The directory holds something else.
    """
    recover_directory(directory)
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return None
    if not (directory / INDEX).is_file():
        raise UsageError(f"{directory} is no lock: it has no {INDEX}", hint="name another directory with --lock-dir")
    return load_lock(directory)


def save_lock(lock: Lock, targets: Mapping[str, Target], directory: Path) -> bool:
    """Make ``directory`` hold ``lock`` and nothing else, at once; return whether it was written."""
    files = lock_files(lock, targets)
    if _holds(directory, files):
        return False
    with replacing_directory(directory) as fresh:
        for path, data in sorted(files.items()):
            write(fresh / path, data)
    return True


def _holds(directory: Path, files: Mapping[str, bytes]) -> bool:
    found = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    return found == set(files) and all((directory / path).read_bytes() == data for path, data in files.items())

"""The one place that writes durably: temporary name, fsync, rename, fsync of the directory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

CHUNK = 1 << 20
#: Names of unfinished things start like this; pruning removes them.
PARTIAL = ".partial-"
#: Bytes of the final name that an unfinished one repeats; file systems allow 255 in all.
_KEPT = 150


def chunks(source: IO[bytes], size: int = CHUNK) -> Iterator[bytes]:
    """Yield the rest of ``source`` in pieces of at most ``size`` bytes."""
    while piece := source.read(size):
        yield piece


def sha256_of(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of the file at ``path`` in hexadecimal, reading it once, never as a whole."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in chunks(file):
            digest.update(piece)
            if progress:
                progress(len(piece))
    return digest.hexdigest()


def fsync_directory(path: Path) -> None:
    """Make renames inside the directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def partial_name(path: Path) -> Path:
    """Return a fresh name beside ``path`` that marks it as unfinished."""
    name = os.fsencode(path.name)[:_KEPT].decode("utf-8", "ignore")
    return path.with_name(f"{PARTIAL}{secrets.token_hex(8)}-{name}")


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path`` when the block ends well, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = partial_name(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def write(path: Path, data: bytes | Iterable[bytes], *, mode: int = 0o644) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old content or the new, never a part."""
    with replacing(path, mode=mode) as file:
        for piece in (data,) if isinstance(data, bytes) else data:
            file.write(piece)


def write_if_changed(path: Path, data: bytes) -> bool:
    """Write ``data`` to ``path`` unless it is there already; return whether it was written."""
    if path.is_file() and path.read_bytes() == data:
        return False
    write(path, data)
    return True


@contextlib.contextmanager
def replacing_directory(path: Path) -> Iterator[Path]:
    """Yield a fresh directory that takes the place of ``path`` when the block ends well.

    An existing directory at ``path`` is moved aside first and removed last: a kill in between leaves either the
    old content under a ``.partial-`` name or the new one in place, never a mixture.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = partial_name(path)
    temporary.mkdir()
    try:
        yield temporary
        aside = partial_name(path)
        if path.exists():
            path.replace(aside)
        try:
            temporary.replace(path)
        except BaseException:
            if aside.exists():
                aside.replace(path)
            raise
        fsync_directory(path.parent)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(directory: Path) -> None:
    """Remove unfinished leftovers directly inside ``directory``."""
    if not directory.is_dir():
        return
    for entry in directory.iterdir():
        if entry.name.startswith(PARTIAL):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)

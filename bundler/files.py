"""The one place that writes durably: temporary name, fsync, rename, fsync of the directory.

What is unfinished is held by a lock (flock) on itself, which the system lets go when its process ends, however it
ends. So :func:`sweep` can tell what a killed run left from what another run works on, in another container too.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from bundler.errors import SpaceError

CHUNK = 1 << 20
#: Names of unfinished things start like this.
PARTIAL = ".partial-"
#: The old directory while :func:`replacing_directory` must do with two renames.
ASIDE = ".aside-"
#: Bytes of the final name that an unfinished one repeats; file systems allow 255 in all.
_KEPT = 150
#: renameat2(2): the flag, and the descriptor that stands for the current directory.
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100
#: How a kernel, a file system or a sandbox says that it does not know RENAME_EXCHANGE.
_NO_EXCHANGE = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM})


def read_limited(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file, which may be ``limit`` at most.

    Raises:
        ValueError: It is something else, or larger.
        OSError: It cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it is larger than {limit >> 20} MiB")
    return data


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


def sync_file_system(path: Path) -> None:
    """Make all that was written to the file system of ``path`` durable: cheaper than one fsync per file.

    See syncfs(2). Where the C library has none, everything is synced.
    """
    syncfs: Callable[[int], int] | None = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if syncfs(handle):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(handle)


def replace_link(path: Path, target: str) -> None:
    """Let the symbolic link at ``path`` point to ``target``: a reader finds the old one or the new one.

    Raises:
        SpaceError: There is no room for it.
    """
    with room_for(path):
        temporary = partial_name(path)
        temporary.symlink_to(target)
        try:
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        fsync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Make the directory, and those above it, so that they last."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    fsync_directory(path.parent)


@contextlib.contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Turn "no space left" into our own error that names ``path``.

    Raises:
        SpaceError: The file system, or the user's share of it, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SpaceError(
            f"no space left while writing {path}",
            hint="free some, or point --store and --out elsewhere; a rerun goes on where it was",
        ) from error


def partial_name(path: Path, prefix: str = PARTIAL) -> Path:
    """Return a fresh name beside ``path`` that marks it as unfinished."""
    name = os.fsencode(path.name)[:_KEPT].decode("utf-8", "ignore")
    return path.with_name(f"{prefix}{secrets.token_hex(8)}-{name}")


@contextlib.contextmanager
def unfinished_file(path: Path, prefix: str = PARTIAL) -> Iterator[IO[bytes]]:
    """Open a file of an unfinished name beside ``path``, held by us; it goes unless it was renamed."""
    while True:
        temporary = partial_name(path, prefix)
        file = temporary.open("xb")
        if _hold(file.fileno(), temporary):
            break
        file.close()
    with file:
        try:
            yield file
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def unfinished_directory(path: Path, prefix: str = PARTIAL) -> Iterator[Path]:
    """Make a directory of an unfinished name beside ``path``, held by us; it goes unless it was renamed."""
    while True:
        temporary = partial_name(path, prefix)
        temporary.mkdir()
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
            if _hold(handle, temporary):
                break
            os.close(handle)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


def _hold(handle: int, path: Path) -> bool:
    """Lock what was just made at ``path``; return False if a sweep was faster."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        # A file system without locks: nothing can be held there, and nothing is swept.
        return True


def sweep(directory: Path, prefix: str = PARTIAL) -> None:
    """Remove unfinished leftovers directly inside ``directory``; what a running process holds stays."""
    try:
        entries = list(directory.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(prefix):
            remove_unheld(entry)


def remove_unheld(entry: Path) -> bool:
    """Remove a file or a tree unless somebody holds it; return whether it went."""
    if entry.is_symlink():
        entry.unlink(missing_ok=True)
        return True
    try:
        handle = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(entry)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def remove(entry: Path) -> None:
    """Remove a file, a link or a whole tree; what cannot be removed, or is gone already, is passed over."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path`` when the block ends well, and vanishes otherwise.

    Raises:
        SpaceError: There is no room for it.
    """
    with room_for(path):
        make_directory(path.parent)
        with unfinished_file(path) as file:
            yield file
            settle(file, mode)
            Path(file.name).replace(path)
        fsync_directory(path.parent)


@contextlib.contextmanager
def appending(path: Path, *, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """Open a file that only grows, held by us alone; what was added is durable when the block ends well.

    A kill may leave a part of what was being added: whoever appends next has to look.

    Raises:
        SpaceError: There is no room for it.
    """
    with room_for(path):
        make_directory(path.parent)
        new = not path.exists()
        with path.open("a+b") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            yield file
            settle(file, mode)
        if new:
            fsync_directory(path.parent)


def settle(file: IO[bytes], mode: int) -> None:
    """Make what was written to an open file durable."""
    file.flush()
    # FAT has no modes and says so; a file that we just made can be changed everywhere else.
    with contextlib.suppress(PermissionError):
        os.fchmod(file.fileno(), mode)
    os.fsync(file.fileno())


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

    Old and new change places in one step (renameat2); a kill before it leaves the old one, a kill after it the new.
    Where the system cannot do that, two renames do: a kill between them leaves the old directory beside ``path``,
    and :func:`recover_directory`, which the next call begins with, puts it back.

    Raises:
        SpaceError: There is no room for it.
    """
    with room_for(path):
        make_directory(path.parent)
        recover_directory(path)
        with unfinished_directory(path) as temporary:
            yield temporary
            for place, _, _ in os.walk(temporary):
                fsync_directory(Path(place))
            take_place(temporary, path)
            fsync_directory(path.parent)


def recover_directory(path: Path) -> None:
    """Put the old directory back where a killed :func:`replacing_directory` had moved it aside; sweep beside it."""
    sweep(path.parent)
    aside = _aside(path)
    if not aside.is_dir():
        return
    if path.exists():
        remove_unheld(aside)
        return
    with contextlib.suppress(FileNotFoundError), _holding(aside) as held:
        if held:
            aside.rename(path)
            fsync_directory(path.parent)


def take_place(temporary: Path, path: Path) -> None:
    """Give an unfinished directory its name; what had the name before gets the unfinished one."""
    if not path.exists():
        temporary.rename(path)
    elif not _exchange(temporary, path):
        _rename_twice(temporary, path)


def _exchange(one: Path, two: Path) -> bool:
    """Let two names change places in one step; return False where the system cannot."""
    renameat2 = _renameat2()
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(two), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(two))


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """Return the C library's function: glibc 2.28 and later have it."""
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return function


def _rename_twice(temporary: Path, path: Path) -> None:
    aside = _aside(path)
    with _holding(path):
        path.rename(aside)
        try:
            temporary.rename(path)
        except BaseException:
            aside.rename(path)
            raise
        fsync_directory(path.parent)
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _holding(directory: Path) -> Iterator[bool]:
    """Hold a directory by its lock, whatever its name becomes; yield False if somebody else does."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield _hold(handle, directory)
    finally:
        os.close(handle)


def _aside(path: Path) -> Path:
    name = os.fsencode(path.name)
    if len(name) > _KEPT:
        return path.with_name(f"{ASIDE}{hashlib.sha256(name).hexdigest()}")
    return path.with_name(f"{ASIDE}{path.name}")

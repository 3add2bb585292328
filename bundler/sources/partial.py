"""A download in progress: bytes under the digest's name in the store, so that any later run goes on with them.

    tmp/fetch-<sha256>         what has arrived; locked while somebody writes
    tmp/fetch-<sha256>.tag     the server's validator of those bytes (ETag or Last-Modified)

The store's sweep of what killed runs left goes by other names and leaves them alone; pruning removes old ones.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from bundler.clock import pause
from bundler.errors import BundlerError, SpaceError, StoreError
from bundler.files import CHUNK, chunks
from bundler.store.cas import Store

_PREFIX = "fetch-"
_LONGEST_TAG = 1024


class Partial:
    """The bytes of one digest that are here so far. Made by :func:`claim` only, which holds the lock.

    ``spliced`` says that they came in more than one piece, so that a wrong digest may be the seam's fault.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._tag = path.with_name(f"{path.name}.tag")
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0
        self.spliced = False

    def load(self) -> None:
        """Hash what an earlier attempt left."""
        self._file.seek(0)
        for piece in chunks(self._file, CHUNK):
            self._hash.update(piece)
            self.size += len(piece)
        self.spliced = self.size > 0

    @property
    def digest(self) -> str:
        """Return the SHA-256 of what is here."""
        return self._hash.hexdigest()

    @property
    def tag(self) -> str:
        """Return the validator of the bytes that are here, or nothing."""
        try:
            return self._tag.read_text(encoding="latin-1")[:_LONGEST_TAG]
        except FileNotFoundError:
            return ""

    def restart(self, tag: str = "") -> None:
        """Forget what is here; what comes has the validator ``tag``."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.size = 0
        self.spliced = False
        self._tag.unlink(missing_ok=True)
        if tag:
            self._tag.write_text(tag[:_LONGEST_TAG], encoding="latin-1")

    def append(self, piece: bytes) -> None:
        """Add bytes at the end."""
        self._file.seek(self.size)
        self._file.write(piece)
        self._hash.update(piece)
        self.size += len(piece)

    def flush(self) -> None:
        """Hand what is buffered to the system, so that a killed process leaves it behind."""
        self._file.flush()

    def drop(self) -> None:
        """Remove it."""
        self._tag.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def finish(self, store: Store) -> None:
        """Move it into the store under its digest."""
        self._file.flush()
        if store.has(self.digest):
            self.drop()
        else:
            store.adopt(self._path, self.digest)
            self._tag.unlink(missing_ok=True)


@contextlib.contextmanager
def claim(store: Store, digest: str, stopped: Callable[[], bool]) -> Iterator[Partial | None]:
    """Yield the download of ``digest`` for this caller alone, waiting for others; None once the store has the blob.

    Raises:
        StoreError: It cannot be written.
        SpaceError: There is no room left.
    """
    path = store.tmp / f"{_PREFIX}{digest}"
    with _store_errors(store):
        file = _lock(store, path, digest, stopped)
        if file is None:
            yield None
            return
        with file:
            partial = Partial(path, file)
            partial.load()
            try:
                yield partial
            finally:
                if partial.size == 0:
                    partial.drop()


def _lock(store: Store, path: Path, digest: str, stopped: Callable[[], bool]) -> IO[bytes] | None:
    """Open ``path`` locked; whoever had it before may have finished or dropped it meanwhile."""
    while not store.has(digest):
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            if stopped():
                raise
            pause(0.1)
            continue
        if _still_there(file, path) and not store.has(digest):
            return file
        file.close()
    path.unlink(missing_ok=True)
    return None


def _still_there(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _store_errors(store: Store) -> Iterator[None]:
    try:
        yield
    except BundlerError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SpaceError(
                f"no room left for the store {store.root}", hint="free some, or set BUNDLE_STORE"
            ) from error
        raise StoreError(f"cannot write to the store {store.root}: {error.strerror or error}") from error

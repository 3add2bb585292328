"""Content-addressed blobs and the reference cache.

    <root>/blobs/ab/abcd…      immutable bytes, named by their SHA-256, read-only
    <root>/refs/<kind>/ab/…    small JSON: what was made from what, with a digest of itself
    <root>/git/                mirrors of git repositories
    <root>/tmp/                unfinished work, each piece held by a lock on itself
    <root>/in-use              locked by every run that uses the store, shared; by pruning, alone

Several runs, in several containers too, may share a store: every write is temporary name → fsync → rename. The time
stamp of a blob or reference says when a run last used it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bundler.errors import StoreError
from bundler.files import (
    chunks,
    fsync_directory,
    make_directory,
    room_for,
    settle,
    sha256_of,
    sweep,
    unfinished_directory,
    unfinished_file,
    write,
)

#: Names of unfinished work in ``tmp`` that the next run may remove; downloads go on instead and have other names.
WORK = "work-"
_READ_ONLY = 0o444


@dataclass(frozen=True, kw_only=True)
class Blob:
    """Immutable bytes: SHA-256 in hexadecimal and size in bytes."""

    digest: str
    size: int


def default_root() -> Path:
    """Return the store of this user: ``$BUNDLE_STORE``, else ``bundle-build`` in the cache directory (XDG)."""
    explicit = os.environ.get("BUNDLE_STORE")
    if explicit:
        return Path(explicit)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "bundle-build"


class Store:
    """The blobs and references below one directory."""

    def __init__(self, root: Path) -> None:
        #: Absolute: what works in it runs elsewhere.
        self.root = root.absolute()
        self.tmp = self.root / "tmp"
        #: Blobs whose bytes this process has read or written whole; what it has marked as used.
        self._sound: set[str] = set()
        self._marked: set[Path] = set()
        try:
            make_directory(self.tmp)
            self._lock = os.open(self.root / "in-use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            weakref.finalize(self, os.close, self._lock)
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(self._lock, fcntl.LOCK_SH)
            sweep(self.tmp, WORK)
        except OSError as error:
            raise StoreError(
                f"cannot use the store at {root}: {error.strerror}", hint="set BUNDLE_STORE or --store"
            ) from error

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other run out of the store while the block runs.

        Raises:
            StoreError: Another run uses it.
        """
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(
                f"the store {self.root} is in use by another run", hint="try again when it has ended"
            ) from error
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def path(self, digest: str) -> Path:
        """Return where the blob lies, whether or not it is there; :meth:`checked` is for reading it."""
        return self.root / "blobs" / digest[:2] / digest

    def has(self, digest: str) -> bool:
        """Return whether the blob is there."""
        return self.path(digest).is_file() and self._mark(self.path(digest))

    def size(self, digest: str) -> int:
        """Return the blob's size in bytes.

        Raises:
            StoreError: The blob is not there.
        """
        try:
            size = self.path(digest).stat().st_size
        except FileNotFoundError as error:
            raise StoreError(f"blob {digest} is not in the store {self.root}", hint="run the build again") from error
        self._mark(self.path(digest))
        return size

    def checked(self, digest: str) -> Path:
        """Return the path of the blob for reading; its bytes are checked the first time in each run.

        Raises:
            StoreError: The blob is not there, or damaged; it is removed then, so that the next run makes it anew.
        """
        self.size(digest)
        if digest not in self._sound and not self.verify(digest):
            raise StoreError(
                f"blob {digest} in the store {self.root} was damaged; it is removed now",
                hint="run again: it is fetched or made anew. bundle-build store check looks for more",
            )
        return self.path(digest)

    def open(self, digest: str) -> IO[bytes]:
        """Open the blob for reading, checked as by :meth:`checked`; the caller closes it.

        Raises:
            StoreError: The blob is not there, or damaged.
        """
        return self.checked(digest).open("rb")

    def verify(self, digest: str) -> bool:
        """Return whether the blob's bytes have its digest; a damaged blob is removed."""
        if not self.path(digest).is_file():
            return False
        if sha256_of(self.path(digest)) == digest:
            self._sound.add(digest)
            return True
        self._sound.discard(digest)
        self.path(digest).unlink(missing_ok=True)
        return False

    def put(self, data: bytes | Iterable[bytes]) -> Blob:
        """Store bytes, or a stream of pieces, and return the blob.

        Raises:
            SpaceError: There is no room for it.
        """
        with room_for(self.tmp), unfinished_file(self.tmp / "put", WORK) as file:
            digest = hashlib.sha256()
            for piece in (data,) if isinstance(data, bytes) else data:
                digest.update(piece)
                file.write(piece)
            return self._take(file, digest.hexdigest())

    def adopt(self, path: Path, digest: str | None = None) -> Blob:
        """Move the finished file at ``path`` (on the store's file system) in; ``digest`` where already computed."""
        with room_for(self.tmp), path.open("rb") as file:
            blob = self._take(file, digest or sha256_of(path))
        path.unlink(missing_ok=True)
        return blob

    def put_file(self, path: Path) -> Blob:
        """Copy the file at ``path`` in."""
        with path.open("rb") as source:
            return self.put(chunks(source))

    def _take(self, file: IO[bytes], digest: str) -> Blob:
        """Make an open file the blob, unless a sound one is there."""
        final = self.path(digest)
        if not self.verify(digest):
            make_directory(final.parent)
            settle(file, _READ_ONLY)
            Path(file.name).replace(final)
            fsync_directory(final.parent)
            self._sound.add(digest)
        return Blob(digest=digest, size=final.stat().st_size)

    def recall(self, kind: str, key: str) -> Any | None:
        """Return what was remembered under ``key`` (a hexadecimal digest), or None; damage counts as None."""
        path = self._reference(kind, key)
        try:
            found = json.loads(path.read_bytes())
            value = found["value"] if found["check"] == key_of(found["value"]) else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        self._mark(path)
        return value

    def remember(self, kind: str, key: str, value: Any) -> None:
        """Remember a JSON value under ``key``.

        Raises:
            SpaceError: There is no room for it.
        """
        data = json.dumps({"check": key_of(value), "value": value}, sort_keys=True, indent=1).encode()
        write(self._reference(kind, key), data)

    def _reference(self, kind: str, key: str) -> Path:
        return self.root / "refs" / kind / key[:2] / f"{key}.json"

    @contextlib.contextmanager
    def workdir(self, prefix: str) -> Iterator[Path]:
        """Yield a private directory on the store's file system, removed afterwards."""
        with room_for(self.tmp), unfinished_directory(self.tmp / prefix, WORK) as path:
            yield path

    def _mark(self, path: Path) -> bool:
        """Note, once in a run, that ``path`` is used: its time stamp is what pruning goes by."""
        if path not in self._marked:
            self._marked.add(path)
            with contextlib.suppress(OSError):
                os.utime(path)
        return True


def key_of(*parts: object) -> str:
    """Return the digest of a canonical JSON form of ``parts``: the key of a reference."""
    data = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str).encode()
    return hashlib.sha256(data).hexdigest()

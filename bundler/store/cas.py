"""Content-addressed blobs and the reference cache.

    <root>/blobs/ab/abcd…      immutable bytes, named by their SHA-256, read-only
    <root>/refs/<kind>/ab/…    small JSON: what was made from what
    <root>/git/                mirrors of git repositories
    <root>/tmp/                unfinished work; safe to empty when nothing runs

Several runs may share a store: every write is temporary name → fsync → rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bundler.errors import StoreError
from bundler.files import chunks, fsync_directory, sha256_of, write


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
        self.root = root
        self.tmp = root / "tmp"
        try:
            self.tmp.mkdir(parents=True, exist_ok=True)
            _sweep(self.tmp)
        except OSError as error:
            raise StoreError(
                f"cannot use the store at {root}: {error.strerror}", hint="set BUNDLE_STORE or --store"
            ) from error

    def path(self, digest: str) -> Path:
        """Return where the blob lies, whether or not it is there."""
        return self.root / "blobs" / digest[:2] / digest

    def has(self, digest: str) -> bool:
        """Return whether the blob is there."""
        return self.path(digest).is_file()

    def size(self, digest: str) -> int:
        """Return the blob's size in bytes.

        Raises:
            StoreError: The blob is not there.
        """
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError as error:
            raise StoreError(f"blob {digest} is not in the store {self.root}", hint="run the build again") from error

    def open(self, digest: str) -> IO[bytes]:
        """Open the blob for reading; the caller closes it.

        Raises:
            StoreError: The blob is not there.
        """
        self.size(digest)
        return self.path(digest).open("rb")

    def verify(self, digest: str) -> bool:
        """Return whether the blob's bytes still have its digest; a damaged blob is removed."""
        if not self.has(digest):
            return False
        if sha256_of(self.path(digest)) == digest:
            return True
        self.path(digest).unlink(missing_ok=True)
        return False

    def put(self, data: bytes | Iterable[bytes]) -> Blob:
        """Store bytes, or a stream of pieces, and return the blob."""
        with tempfile.NamedTemporaryFile(prefix=_mark(), dir=self.tmp, delete=False) as file:
            path = Path(file.name)
            digest = hashlib.sha256()
            try:
                for piece in (data,) if isinstance(data, bytes) else data:
                    digest.update(piece)
                    file.write(piece)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        return self._take(path, digest.hexdigest())

    def adopt(self, path: Path, digest: str | None = None) -> Blob:
        """Move the finished file at ``path`` (on the store's file system) in; ``digest`` where already computed."""
        return self._take(path, digest or sha256_of(path))

    def put_file(self, path: Path) -> Blob:
        """Copy the file at ``path`` in."""
        with path.open("rb") as source:
            return self.put(chunks(source))

    def _take(self, path: Path, digest: str) -> Blob:
        final = self.path(digest)
        size = path.stat().st_size
        if final.is_file() and final.stat().st_size == size:
            path.unlink()
            return Blob(digest=digest, size=size)
        final.parent.mkdir(parents=True, exist_ok=True)
        path.chmod(0o444)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(final)
        fsync_directory(final.parent)
        return Blob(digest=digest, size=size)

    def recall(self, kind: str, key: str) -> Any | None:
        """Return what was remembered under ``key`` (a hexadecimal digest), or None; damage counts as None."""
        path = self._reference(kind, key)
        try:
            return json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def remember(self, kind: str, key: str, value: Any) -> None:
        """Remember a JSON value under ``key``."""
        data = json.dumps(value, sort_keys=True, indent=1).encode()
        write(self._reference(kind, key), data)

    def _reference(self, kind: str, key: str) -> Path:
        return self.root / "refs" / kind / key[:2] / f"{key}.json"

    @contextlib.contextmanager
    def workdir(self, prefix: str) -> Iterator[Path]:
        """Yield a private directory on the store's file system, removed afterwards."""
        path = Path(tempfile.mkdtemp(prefix=f"{_mark()}{prefix}-", dir=self.tmp))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _mark() -> str:
    """Return how names of this process's unfinished work begin."""
    return f"{os.getpid()}-"


def _sweep(directory: Path) -> None:
    """Remove what processes that are no more left unfinished."""
    for entry in directory.iterdir():
        owner = entry.name.partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def key_of(*parts: object) -> str:
    """Return the digest of a canonical JSON form of ``parts``: the key of a reference."""
    data = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str).encode()
    return hashlib.sha256(data).hexdigest()

"""A venv's tree that gets its files: new ones, written once, and hard links to those that another venv has.

Files are read-only, so that they can be shared. Several processes may fill one tree at a time. It has no symbolic
link before all its files are there, so nothing is written through one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator

from bundler.archive.extract import CREATE
from bundler.archive.tar import MTIME
from bundler.errors import IntegrityError
from bundler.files import chunks

_NANOSECONDS = MTIME * 10**9
_WRITABLE = 0o222
#: Compiled from equal sources: where two layers have one, either fits.
_BYTECODE = ".pyc"


class VenvTree:
    """A tree below an open directory. Paths are plain and relative. Whoever fills it has set a umask of 022."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._made = {""}

    def make_directory(self, path: str) -> None:
        """Make a directory and those above it.

        Raises:
            IntegrityError: A file of that path is there.
        """
        if path in self._made:
            return
        self.make_directory(posixpath.dirname(path))
        try:
            os.mkdir(path, 0o755, dir_fd=self._handle)
        except FileExistsError:
            if not stat.S_ISDIR(self._stat(path).st_mode):
                raise IntegrityError(f"{path!r} is a file and a directory") from None
        self._made.add(path)

    def write(self, path: str, content: Iterable[bytes], *, executable: bool) -> bool:
        """Write a file into a directory that was made; return False if there is something of that path."""
        try:
            handle = os.open(path, CREATE, 0o555 if executable else 0o444, dir_fd=self._handle)
        except FileExistsError:
            return False
        try:
            for piece in content:
                done = os.write(handle, piece)
                while done < len(piece):
                    done += os.write(handle, piece[done:])
            os.utime(handle, ns=(_NANOSECONDS, _NANOSECONDS))
        finally:
            os.close(handle)
        return True

    def link(self, path: str, other: VenvTree) -> None:
        """Put a file of another tree into a directory that was made.

        Raises:
            IntegrityError: Another file, or a directory, of that path is there.
        """
        try:
            os.link(path, path, src_dir_fd=other._handle, dst_dir_fd=self._handle, follow_symlinks=False)
        except FileExistsError:
            self.expect(path, other._sha256(path))

    def expect(self, path: str, sha256: str) -> None:
        """Make sure that the file at ``path`` does for one that has this SHA-256.

        Raises:
            IntegrityError: It is another one, or none.
        """
        found = self._sha256(path)
        if not found or (found != sha256 and not path.endswith(_BYTECODE)):
            raise IntegrityError(f"two layers of the venv have different files at {path!r}")

    def untouched(self, path: str, size: int) -> bool:
        """Return whether a file is as it was written: nobody changed its size, its time or its mode since."""
        try:
            found = self._stat(path)
        except OSError:
            return False
        same = (found.st_size, found.st_mtime_ns) == (size, _NANOSECONDS)
        return same and stat.S_ISREG(found.st_mode) and not found.st_mode & _WRITABLE

    def _sha256(self, path: str) -> str:
        """Return the SHA-256 of a regular file; nothing for anything else."""
        if not stat.S_ISREG(self._stat(path).st_mode):
            return ""
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._handle)
        with os.fdopen(handle, "rb") as file:
            return digest_of(chunks(file))

    def _stat(self, path: str) -> os.stat_result:
        return os.stat(path, dir_fd=self._handle, follow_symlinks=False)


@contextlib.contextmanager
def open_tree(root: str) -> Iterator[VenvTree]:
    """Open the directory ``root`` as a tree."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield VenvTree(handle)
    finally:
        os.close(handle)


def digest_of(pieces: Iterable[bytes]) -> str:
    """Return the SHA-256 of ``pieces`` in hexadecimal."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()

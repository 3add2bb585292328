"""Put the members of tar segments into a fresh private directory: regular files, directories, listed links.

While files are written no link exists below the root, so that no member can be written through one; links are made
last, when all files are there.
"""

from __future__ import annotations

import errno
import os
import posixpath
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bundler.archive.tar import MTIME, TarEntry
from bundler.archive.untar import members
from bundler.errors import IntegrityError

#: How a file is made that must not be there yet.
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def checked_path(path: str) -> str:
    """Return ``path`` if it is relative and stays below its root in every component.

    Raises:
        IntegrityError: It is absolute, empty, or has an empty, ``.`` or ``..`` component or a NUL.
    """
    framed = f"/{path}/"
    if "//" in framed or "/./" in framed or "/../" in framed or "\0" in path:
        raise IntegrityError(f"the path {path!r} leaves its directory or is not in its plain form")
    return path


def checked_link(path: str, target: str, absolute: Mapping[str, str]) -> None:
    """Accept a link that stays below the root, or exactly the absolute one that ``absolute`` lists for ``path``.

    Raises:
        IntegrityError: It points elsewhere.
    """
    if absolute.get(path) == target:
        return
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if not target or "\0" in target or target.startswith("/") or inside == ".." or inside.startswith("../"):
        raise IntegrityError(f"the link {path!r} points outside: {target!r}")


class Extraction:
    """One directory being filled from several segments, which may come from several threads at a time.

    Where two segments hold one path, that of the higher ``order`` stays, as a sequential unpack would have it.
    ``absolute`` lists the absolute links that are allowed, by path.
    """

    def __init__(self, root: Path, *, absolute: Mapping[str, str] | None = None) -> None:
        self.root = root
        self._absolute = absolute or {}
        self._lock = threading.Lock()
        self._owners: dict[str, int] = {}
        self._directories: set[str] = set()
        self._links: dict[str, tuple[int, str]] = {}
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise IntegrityError(f"{root} is not empty")

    def add(self, pieces: Iterable[bytes], order: int = 0) -> None:
        """Write the files and directories of a segment; remember its links.

        Raises:
            IntegrityError: The segment is damaged, or holds something that is not accepted.
        """
        for entry, content in members(pieces):
            path = checked_path(entry.path)
            if entry.kind == "directory":
                self._make_directory(path)
            elif entry.kind == "link":
                checked_link(path, entry.target, self._absolute)
                with self._lock:
                    self._links[path] = max(self._links.get(path, (order, entry.target)), (order, entry.target))
            else:
                self._write(entry, content, order)

    def finish(self) -> None:
        """Make the links."""
        for path, (_, target) in sorted(self._links.items()):
            self._make_directory(posixpath.dirname(path))
            try:
                (self.root / path).symlink_to(target)
            except OSError as error:
                pass_on_full(error)
                raise IntegrityError(f"the link {path!r} cannot be made: {error.strerror}") from error

    def _make_directory(self, path: str) -> None:
        if not path or path in self._directories:
            return
        self._make_directory(posixpath.dirname(path))
        full = self.root / path
        try:
            full.mkdir()
        except FileExistsError:
            if not full.is_dir():
                raise IntegrityError(f"{path!r} is a file and a directory") from None
        else:
            full.chmod(0o755)
        self._directories.add(path)

    def _write(self, entry: TarEntry, content: Iterator[bytes], order: int) -> None:
        with self._lock:
            owner = self._owners.get(entry.path)
            if owner is not None and owner > order:
                return
            self._owners[entry.path] = order
        self._make_directory(posixpath.dirname(entry.path))
        name = os.path.join(self.root, entry.path)  # noqa: PTH118 -- 10 000s of files: Path takes five times as long
        try:
            if owner is None:
                _write_new(name, content, _mode(entry))
            else:
                aside = f"{name}.partial-{order}"
                _write_new(aside, content, _mode(entry))
                os.replace(aside, name)  # noqa: PTH105 -- as above
        except OSError as error:
            pass_on_full(error)
            if not (isinstance(error, FileExistsError) and self._owners[entry.path] > order):
                raise IntegrityError(f"{entry.path!r} cannot be written: {error.strerror}") from error


def _mode(entry: TarEntry) -> int:
    return 0o755 if entry.executable else 0o644


def pass_on_full(error: OSError) -> None:
    """Let "no space left" out as it is: no archive is to blame for it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise error


def _write_new(name: str, content: Iterator[bytes], mode: int) -> None:
    handle = os.open(name, CREATE, 0o600)
    try:
        for piece in content:
            view = memoryview(piece)
            while view:
                view = view[os.write(handle, view) :]
        os.fchmod(handle, mode)
        os.utime(handle, (MTIME, MTIME))
    finally:
        os.close(handle)

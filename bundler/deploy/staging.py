"""Copies from media: each byte of a bundle is read once, hashed as it is written, and kept in a private directory.

``<state>/staging/<digest of SHA256SUMS>/<name>`` has its name only after its digest was found right and its bytes
were synced, so what is there was checked: a rerun does not read it again. The directory is a flat bundle of its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from bundler import files
from bundler.bundle.admission import Room, check_room
from bundler.bundle.driver import Pieces
from bundler.bundle.verification import FileCheck
from bundler.deploy.places import Places
from bundler.errors import SpaceError, StoreError

#: Only its owner looks into it: nobody changes a file between check and use.
_PRIVATE = 0o700
_MODE = 0o600


class Staging:
    """The private directory of one bundle. Threads may copy into it at the same time."""

    def __init__(self, places: Places, digest: str) -> None:
        self.path = places.staging / digest

    def open(self) -> None:
        """Make the directory, and remove what killed runs left unfinished.

        Raises:
            StoreError: Something is there that is not ours alone.
            SpaceError: There is no room for it.
        """
        with _room(self.path):
            files.make_directory(self.path.parent)
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(mode=_PRIVATE)
            found = self.path.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise StoreError(
                    f"{self.path} is not a directory of this user alone",
                    hint="somebody else may have changed it: remove it, the next run copies anew",
                )
            files.fsync_directory(self.path.parent)
        files.sweep(self.path)

    def names(self) -> frozenset[str]:
        """Return the names of complete files."""
        if not self.path.is_dir():
            return frozenset()
        return frozenset(entry.name for entry in self.path.iterdir() if not entry.name.startswith("."))

    def announce(self, *, size: int, files: int) -> None:
        """Refuse before the first byte is copied if there is no room for so many bytes and files.

        Raises:
            SpaceError: Naming what is needed and free.
        """
        check_room(room_of(self.path), size=size, files=files)

    def keep(self, texts: Mapping[str, bytes]) -> None:
        """Write small files that were read, and judged, in memory.

        Raises:
            SpaceError: There is no room.
        """
        for name, data in texts.items():
            path = self.path / name
            # Signatures may have changed since an earlier run.
            if not path.is_file() or path.read_bytes() != data:
                self._write(name, None, iter([memoryview(data)]))

    def take(self, check: FileCheck, pieces: Pieces) -> None:
        """Copy a file; it gets its name if its check agrees.

        Raises:
            IntegrityError: It is not what was signed; nothing of it stays.
            SpaceError: There is no room.
        """
        self._write(check.name, check, pieces)

    def remove(self) -> None:
        """Let the copy go; what a kill leaves of it is right, and the next run copies the rest."""
        files.remove(self.path)

    def _write(self, name: str, check: FileCheck | None, pieces: Pieces) -> None:
        path = self.path / name
        with _room(self.path), files.unfinished_file(path) as file:
            for piece in pieces:
                file.write(piece)
            if check is not None:
                check.finish()
            files.settle(file, _MODE)
            Path(file.name).rename(path)
            files.fsync_directory(self.path)


@contextlib.contextmanager
def _room(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SpaceError(
            f"no space left while writing into {directory}",
            hint="free some there, or choose another place with --state-dir; a rerun goes on where it was",
        ) from error


def room_of(path: Path) -> Room:
    """Return what is free in the file system in which ``path`` is, or would be made."""
    place = next(one for one in (path, *path.absolute().parents) if one.exists())
    found = os.statvfs(place)
    # Some file systems do not count files.
    return Room(
        where=str(place), free=found.f_bavail * found.f_frsize, files=found.f_favail if found.f_files else None
    )

"""The medium that a bundle lies on: a directory, or one uncompressed ``.tar`` of it. Read-only, regular files only.

Nothing here follows a link, waits for a pipe, or opens a device.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from bundler.archive.tar import Kind
from bundler.archive.untar import index
from bundler.errors import FileIrregular, FileMissing, FormatError, IntegrityError, UsageError

#: A bundle holds some tens of files.
MAX_FILES = 10_000
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_GONE = "is the medium still there? try another copy"
_TYPES = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class Medium(Protocol):
    """Flat, read-only access to the files of one bundle. Threads may share it; only one at a time asks for names."""

    @property
    def label(self) -> str:
        """Return what messages call it."""

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted, regular or not."""

    def size(self, name: str) -> int:
        """Return a regular file's size in bytes."""

    def open(self, name: str) -> IO[bytes]:
        """Open a regular file for reading, seekable; the caller closes it."""


def _irregular(name: str, kind: str) -> FileIrregular:
    return FileIrregular(f"{name!r} is {kind}, not a regular file", hint="copy the bundle anew from its source")


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn a failing medium into our own error that names what was read.

    Raises:
        IntegrityError: It cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise IntegrityError(f"{name} cannot be read: {error.strerror or error}", hint=_GONE) from error


def _open_quietly(name: str | Path, directory: int | None = None) -> int:
    """Open for reading; where we may, not even the time of access is written to the medium."""
    try:
        return os.open(name, _OPEN | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        # Only the owner may ask for that.
        return os.open(name, _OPEN, dir_fd=directory)


def _check_regular(name: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise _irregular(name, _TYPES.get(stat.S_IFMT(mode), "special"))


class DirectoryMedium:
    """A bundle as a directory, held open by its descriptor."""

    def __init__(self, path: Path) -> None:
        self.label = str(path)
        self._handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let the directory go."""
        os.close(self._handle)

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted, regular or not."""
        found: list[str] = []
        with reading(self.label), self._own_handle() as handle, os.scandir(handle) as entries:
            for entry in entries:
                found.append(entry.name)
                if len(found) > MAX_FILES:
                    raise FormatError(f"{self.label} holds more than {MAX_FILES} files: it is no bundle")
        return tuple(sorted(found))

    @contextlib.contextmanager
    def _own_handle(self) -> Iterator[int]:
        """Open the directory once more: threads that list by one handle share its place, and miss what lies there."""
        handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._handle)
        try:
            yield handle
        finally:
            os.close(handle)

    def size(self, name: str) -> int:
        """Return a regular file's size in bytes."""
        with self.open(name) as file:
            return os.fstat(file.fileno()).st_size

    def open(self, name: str) -> IO[bytes]:
        """Open a regular file for reading; the caller closes it.

        Raises:
            FileMissing: There is none of that name.
            FileIrregular: It is something else.
        """
        try:
            # Looked at before it is opened: opening alone makes some devices act.
            _check_regular(name, os.stat(name, dir_fd=self._handle, follow_symlinks=False).st_mode)
            handle = _open_quietly(name, self._handle)
        except FileNotFoundError as error:
            raise FileMissing(f"{name} is missing", hint="copy the bundle anew: all files belong together") from error
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):
                raise _irregular(name, "a symbolic link" if error.errno == errno.ELOOP else "special") from error
            raise IntegrityError(f"{name} cannot be read: {error.strerror}", hint=_GONE) from error
        try:
            _check_regular(name, os.fstat(handle).st_mode)
        except FileIrregular:
            os.close(handle)
            raise
        return os.fdopen(handle, "rb")


@dataclass(frozen=True, kw_only=True)
class _Member:
    """A member of a tar: its content, ``size`` bytes, begins at ``offset``."""

    kind: Kind
    size: int
    offset: int


class TarMedium:
    """A bundle as one uncompressed tar, members directly in it or below one directory."""

    def __init__(self, path: Path) -> None:
        self.label = str(path)
        self._handle = _open_quietly(path)
        self._members: dict[str, _Member] = {}
        try:
            _index(self._handle, self._members)
        except (FormatError, IntegrityError) as error:
            os.close(self._handle)
            raise type(error)(f"{path}: {error.message}", hint=error.hint or _hint(self._members)) from error
        except BaseException:
            os.close(self._handle)
            raise

    def close(self) -> None:
        """Let the tar go."""
        os.close(self._handle)

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted, regular or not."""
        return tuple(sorted(self._members))

    def size(self, name: str) -> int:
        """Return a regular file's size in bytes."""
        return self._member(name).size

    def open(self, name: str) -> IO[bytes]:
        """Open a member for reading; the caller closes it.

        Raises:
            FileMissing: There is none of that name.
            FileIrregular: It is a link or a directory.
        """
        member = self._member(name)
        return io.BufferedReader(_Slice(self._handle, member.offset, member.size), 1 << 18)

    def _member(self, name: str) -> _Member:
        if name not in self._members:
            raise FileMissing(f"{name} is missing", hint="copy the bundle anew: all files belong together")
        member = self._members[name]
        if member.kind != "file":
            raise _irregular(name, f"a {member.kind}")
        return member


def _hint(members: Mapping[str, _Member]) -> str:
    return "copy it anew" if members else "is it compressed? give an uncompressed tar of a bundle, or its directory"


def _index(handle: int, members: dict[str, _Member]) -> None:
    """Put the members by flat name into ``members``. Only headers are read."""
    size = os.fstat(handle).st_size
    top: str | None = None
    with io.BufferedReader(_Slice(handle, 0, size), 512) as file:
        for entry, offset in index(file, size):
            directory, name = posixpath.split(posixpath.normpath(entry.path))
            if entry.kind == "directory" and not directory:
                continue
            top = directory if top is None else top
            if directory != top or "/" in directory:
                raise FormatError(f"tar member {entry.path!r} is not directly in the bundle's directory")
            if name in members or len(members) >= MAX_FILES:
                raise FormatError(f"tar member {entry.path!r} occurs twice, or there are too many")
            members[name] = _Member(kind=entry.kind, size=entry.size, offset=offset)


class _Slice(io.RawIOBase):
    """``size`` bytes of an open file from ``offset`` on, as a seekable file that does not own the descriptor."""

    def __init__(self, handle: int, offset: int, size: int) -> None:
        self._source, self._offset, self._size = handle, offset, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._size - self._position))
        size = os.preadv(self._source, [buffer[:wanted]], self._offset + self._position)
        self._position += size
        return size


@contextlib.contextmanager
def open_medium(path: Path) -> Iterator[Medium]:
    """Open the bundle at ``path``: a directory, or an uncompressed tar of one.

    Raises:
        UsageError: There is nothing, or something else.
    """
    with reading(str(path)):
        if path.is_dir():
            medium: DirectoryMedium | TarMedium = DirectoryMedium(path)
        elif path.is_file():
            medium = TarMedium(path)
        else:
            raise UsageError(f"{path} is neither a bundle's directory nor a .tar of one")
    try:
        yield medium
    finally:
        medium.close()


def read_bounded(medium: Medium, name: str, limit: int) -> bytes:
    """Return the whole of a small file.

    Raises:
        FormatError: It is larger than ``limit`` bytes.
    """
    with medium.open(name) as file, reading(name):
        data = file.read(limit + 1)
    if len(data) > limit:
        raise FormatError(f"{name} is larger than {limit} bytes")
    return data

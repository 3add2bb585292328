"""Unpacks source archives into a private tree, checking every member by name, type and size.

Nothing is extracted by the archive libraries themselves: names are checked, files written one by one with fixed
modes, symbolic links made last and only where they stay inside. One top-level directory (PEP 625) is stripped.
"""

from __future__ import annotations

import calendar
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bundler.errors import WheelBuildFailed
from bundler.files import chunks

#: 1980-01-01, the oldest time that a zip archive can hold.
OLDEST_EPOCH = 315532800
#: 2100-01-01: a member that claims to be younger says nothing.
NEWEST_EPOCH = 4102444800
MAX_MEMBERS = 200_000
MAX_BYTES = 4 << 30
_HINT = "the source archive is damaged or hostile; choose another version or a git source"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member of an archive, whatever the archive's format; ``kind`` is ``f``, ``d``, ``l`` (link) or ``h``."""

    name: str
    kind: str
    size: int
    mtime: int
    executable: bool = False
    link: str = ""


@dataclass(kw_only=True)
class _Unpacking:
    root: Path
    what: str
    epoch: int = OLDEST_EPOCH
    count: int = 0
    size: int = 0
    links: dict[str, str] = field(default_factory=dict)

    def refuse(self, name: str, why: str) -> WheelBuildFailed:
        return WheelBuildFailed(f"{self.what}: member {name!r} {why}", hint=_HINT)

    def add(self, member: Member, content: IO[bytes] | None) -> None:
        self.count += 1
        self.size += member.size
        if self.count > MAX_MEMBERS or self.size > MAX_BYTES:
            raise self.refuse(member.name, f"exceeds {MAX_MEMBERS} members or {MAX_BYTES} bytes")
        path = self.check_name(member.name)
        self.epoch = max(self.epoch, member.mtime if member.mtime < NEWEST_EPOCH else 0)
        if member.kind == "d":
            self.make_directory(path, member.name)
        elif member.kind == "l":
            self.links[path] = member.link
        elif member.kind == "h":
            self.copy(member, path)
        elif member.kind == "f" and content is not None:
            self.write(member, path, content)
        else:
            raise self.refuse(member.name, "is neither a file, a directory nor a link")

    def check_name(self, name: str) -> str:
        """Return the normalised relative path of a member."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\\" in name or any(ord(char) < ord(" ") for char in name):
            raise self.refuse(name, "has a name that leaves the archive")
        path = "/".join(parts)
        for depth in range(1, len(parts) + 1):
            if "/".join(parts[:depth]) in self.links:
                raise self.refuse(name, "lies behind a symbolic link")
        return path

    def make_directory(self, path: str, name: str) -> Path:
        place = self.root / path
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self.refuse(name, f"cannot be written: {error.strerror}") from error
        return place

    def write(self, member: Member, path: str, content: IO[bytes]) -> None:
        place = self.root / path
        self.make_directory(str(Path(path).parent), member.name)
        left = member.size
        try:
            place.unlink(missing_ok=True)
            with place.open("xb") as file:
                for piece in chunks(content):
                    left -= len(piece)
                    if left < 0:
                        raise self.refuse(member.name, "is longer than the archive says")
                    file.write(piece)
        except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise self.refuse(member.name, f"cannot be unpacked: {error}") from error
        if left:
            raise self.refuse(member.name, "is shorter than the archive says")
        place.chmod(0o755 if member.executable else 0o644)

    def copy(self, member: Member, path: str) -> None:
        origin = self.root / self.check_name(member.link)
        if not origin.is_file() or origin.is_symlink():
            raise self.refuse(member.name, f"is a hard link to {member.link!r}, which is no earlier file")
        size = origin.stat().st_size
        executable = bool(origin.stat().st_mode & stat.S_IXUSR)
        with origin.open("rb") as content:
            self.add(Member(name=path, kind="f", size=size, mtime=0, executable=executable), content)

    def finish(self) -> None:
        for path, target in self.links.items():
            place = self.root / path
            self.make_directory(str(Path(path).parent), path)
            if place.is_symlink() or place.exists():
                raise self.refuse(path, "is a symbolic link over another member")
            place.symlink_to(target)
        for path, target in self.links.items():
            if target.startswith("/") or not is_inside(self.root / path, self.root):
                raise self.refuse(path, f"is a symbolic link to {target!r}, outside the archive")


def is_inside(path: Path, root: Path) -> bool:
    """Return whether ``path``, links followed, lies below ``root``; a loop of links lies where it starts."""
    inside = os.path.realpath(root)
    return os.path.commonpath([inside, os.path.realpath(path)]) == inside


def unpack_sdist(archive: Path, filename: str, into: Path) -> int:
    """Unpack the source archive at ``archive``, called ``filename``, so that ``into`` is its top-level directory.

    Return the time of its newest member, at least 1980, which becomes SOURCE_DATE_EPOCH. ``into`` must not exist.

    Raises:
        WheelBuildFailed: The archive is damaged, or a member may not be unpacked; names archive and member.
    """
    staging = into.with_name(into.name + ".unpacking")
    staging.mkdir()
    unpacking = _Unpacking(root=staging, what=filename)
    reader = _read_zip if filename.endswith(".zip") else _read_tar
    try:
        with reader(archive) as members:
            for member, content in members:
                unpacking.add(member, content)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        OSError,
        EOFError,
        ValueError,
        ArithmeticError,
        NotImplementedError,
    ) as error:
        raise WheelBuildFailed(f"{filename} is no readable source archive: {error}", hint=_HINT) from error
    unpacking.finish()
    _top_level(staging, filename).rename(into)
    if staging.exists():
        staging.rmdir()
    settle_times(into, unpacking.epoch)
    return unpacking.epoch


def settle_times(tree: Path, epoch: int) -> None:
    """Give every file and directory of ``tree`` the time ``epoch``, so that no backend sees when it was unpacked."""
    for folder, _, names in os.walk(tree, topdown=False):
        for name in names:
            os.utime(Path(folder) / name, (epoch, epoch), follow_symlinks=False)
        os.utime(folder, (epoch, epoch))


def _top_level(staging: Path, filename: str) -> Path:
    entries = list(staging.iterdir())
    if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink():
        return entries[0]
    if any(entry.name in ("setup.py", "pyproject.toml") for entry in entries):
        return staging
    raise WheelBuildFailed(f"{filename} has {len(entries)} top-level entries instead of one directory", hint=_HINT)


@contextmanager
def _read_tar(archive: Path) -> Iterator[Iterator[tuple[Member, IO[bytes] | None]]]:
    with tarfile.open(archive, "r:*") as tar:
        yield ((_tar_member(info), tar.extractfile(info) if info.isreg() else None) for info in tar)


def _tar_member(info: tarfile.TarInfo) -> Member:
    kinds = ((info.isreg(), "f"), (info.isdir(), "d"), (info.issym(), "l"), (info.islnk(), "h"))
    return Member(
        name=info.name,
        kind=next((kind for holds, kind in kinds if holds), "?"),
        size=info.size if info.isreg() else 0,
        mtime=int(info.mtime),
        executable=bool(info.mode & stat.S_IXUSR),
        link=info.linkname,
    )


@contextmanager
def _read_zip(archive: Path) -> Iterator[Iterator[tuple[Member, IO[bytes] | None]]]:
    with zipfile.ZipFile(archive) as source:
        members = ((_zip_member(info), info) for info in source.infolist())
        yield ((member, source.open(info) if member.kind == "f" else None) for member, info in members)


def _zip_member(info: zipfile.ZipInfo) -> Member:
    mode = info.external_attr >> 16
    regular = stat.S_IFMT(mode) in (0, stat.S_IFREG) and not info.flag_bits & 0x1
    kind = "d" if info.is_dir() else "f" if regular else "?"
    return Member(
        name=info.filename,
        kind=kind,
        size=info.file_size if kind == "f" else 0,
        mtime=calendar.timegm((*info.date_time, 0, 0, 0)),
        executable=bool(mode & stat.S_IXUSR),
    )

"""Local source trees: a digest over their files, and a copy that is the same wherever and whenever it is made.

Left out: version control, bytecode, caches, virtual environments, and what earlier builds put there (``build``,
``*.egg-info``). Empty directories do not count. A version that is taken from git tags is not to be had from a path
source: name the repository as a git source instead.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import DigestMismatch, FetchFailed, Problem
from bundler.files import chunks
from bundler.model.lock import DirectorySource

_ANYWHERE = frozenset({".git", ".hg", ".svn", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"})
_AT_TOP = frozenset({"build", ".venv", "venv", ".tox", ".nox", ".eggs"})
#: 1980-01-01, the oldest time that a zip file can hold.
_TIME = 315532800


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A file or a link; ``target`` is what a link says."""

    path: str
    mode: int
    target: str | None = None


def digest_directory(tree: Path) -> str:
    """Return the SHA-256 over sorted relative paths, modes and bytes of the files below ``tree``.

    Raises:
        FetchFailed: It is no directory, or holds links that lead out of it, sockets, pipes or unreadable files.
    """
    total = hashlib.sha256()
    for entry in _entries(tree):
        content = hashlib.sha256()
        if entry.target is None:
            with (tree / entry.path).open("rb") as file:
                for piece in chunks(file):
                    content.update(piece)
        else:
            content.update(os.fsencode(entry.target))
        total.update(b"%o %s " % (entry.mode, content.hexdigest().encode()) + os.fsencode(entry.path) + b"\0")
    return total.hexdigest()


def copy_directory(source: DirectorySource, root: Path, into: Path) -> None:
    """Copy the tree, whose path is relative to ``root``, into the new directory ``into``.

    Raises:
        DigestMismatch: It changed since it was locked; the copy was removed.
        FetchFailed: As for :func:`digest_directory`.
    """
    tree = root / source.path
    try:
        into.mkdir(parents=True)
        for entry in _entries(tree):
            _copy(tree, entry, into)
        _settle_directories(into)
        found = digest_directory(into)
    except OSError as error:
        shutil.rmtree(into, ignore_errors=True)
        raise FetchFailed(f"cannot copy {tree}: {error.strerror}: {error.filename}", hint="run again") from error
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise
    if found != source.sha256:
        shutil.rmtree(into, ignore_errors=True)
        raise DigestMismatch(
            f"{tree} changed since it was locked: expected sha256 {source.sha256}, got {found}",
            hint="lock again to take the tree as it is now",
        )


def _copy(tree: Path, entry: _Entry, into: Path) -> None:
    target = into / entry.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.target is None:
        shutil.copyfile(tree / entry.path, target)
        target.chmod(entry.mode)
    else:
        target.symlink_to(entry.target)
    os.utime(target, (_TIME, _TIME), follow_symlinks=False)


def _settle_directories(tree: Path) -> None:
    for folder, _names, _files in os.walk(tree, topdown=False):
        Path(folder).chmod(0o755)
        os.utime(folder, (_TIME, _TIME))


def _entries(tree: Path) -> list[_Entry]:
    if not tree.is_dir():
        raise FetchFailed(f"{tree} is no directory", hint="check the path; it is relative to the manifest")
    entries, problems = [], []
    for path in _walk(tree):
        found = _entry(tree, path)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            entries.append(found)
    if problems:
        raise FetchFailed(f"{tree} cannot be taken as a source tree", problems=problems)
    return sorted(entries, key=lambda entry: os.fsencode(entry.path))


def _walk(tree: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(tree):
        at_top = Path(folder) == tree
        kept = [name for name in names if not _ignored(name, at_top=at_top)]
        links = [name for name in kept if Path(folder, name).is_symlink()]
        names[:] = [name for name in kept if name not in links]
        yield from (Path(folder, name) for name in (*links, *files) if not _ignored(name, at_top=at_top))


def _ignored(name: str, *, at_top: bool) -> bool:
    return name in _ANYWHERE or (at_top and name in _AT_TOP) or name.endswith((".egg-info", ".pyc", ".pyo"))


def _entry(tree: Path, path: Path) -> _Entry | Problem:
    name = path.relative_to(tree).as_posix()
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        inside = path.resolve().is_relative_to(tree.resolve()) and not path.readlink().is_absolute()
        if not inside:
            return Problem(where=name, what="is a link that leads out of the tree", hint="replace it by a copy")
        return _Entry(path=name, mode=0o777, target=os.fspath(path.readlink()))
    if not stat.S_ISREG(mode):
        return Problem(where=name, what="is neither file nor directory nor link")
    if not os.access(path, os.R_OK):
        return Problem(where=name, what="cannot be read")
    return _Entry(path=name, mode=0o755 if mode & 0o100 else 0o644)

"""Unpacked layers, each once, on the file system of the venvs that hard-link their files.

``<venvs>/.layers/<sha256 of the frame>/`` is a tree of read-only files. A tree gets its name only after all of it was
synced, so what has a name is whole; files that somebody changed since show by their time or their mode, and then the
layer is unpacked anew.
"""

from __future__ import annotations

import filecmp
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from bundler import files
from bundler.archive.extract import Extraction
from bundler.archive.tar import MTIME
from bundler.errors import IntegrityError

LAYERS = ".layers"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_WRITABLE = 0o222


class LayerStore:
    """The layers beside the venvs in ``venvs``. One run at a time changes it."""

    def __init__(self, venvs: Path) -> None:
        self.root = venvs / LAYERS
        self._listings: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {}
        self._fresh: dict[str, Path] = {}

    def has(self, digest: str) -> bool:
        """Return whether the layer is there, and nobody changed a file of it."""
        place = self.root / digest
        return place.is_dir() and all(map(_untouched, _files(place)))

    @staticmethod
    def unpack(digest: str, pieces: Iterable[bytes], into: Path) -> None:
        """Unpack a layer below the unfinished directory ``into``. Several processes may do so at a time.

        Raises:
            IntegrityError: It is damaged, or has what no layer has.
        """
        extraction = Extraction(into / digest, read_only=True)
        extraction.add(pieces)
        if extraction.has_links:
            raise IntegrityError(f"layer {digest} has a symbolic link")

    def add(self, digests: Iterable[str], into: Path) -> None:
        """Take layers that were unpacked below ``into``; they have no names yet."""
        self._fresh |= {digest: into / digest for digest in digests}

    def name_all(self) -> None:
        """Give the layers that were added their names; the caller has synced them."""
        for digest, place in self._fresh.items():
            files.take_place(place, self.root / digest)
        self._fresh.clear()
        files.fsync_directory(self.root)

    def link(self, digest: str, tree: str, made: set[str]) -> None:
        """Put the layer's files below ``tree`` as hard links; ``made`` are the directories that are there already.

        Raises:
            IntegrityError: The tree has another file, or a directory, of that path.
        """
        top = str(self._fresh.get(digest, self.root / digest))
        for directory, names in self._listing(digest, top):
            source, place = f"{top}{directory}/", f"{tree}{directory}/"
            if directory not in made:
                _make_directory(place)
                made.add(directory)
            for name in names:
                try:
                    os.link(source + name, place + name, follow_symlinks=False)
                except FileExistsError:  # noqa: PERF203 -- looking first would cost more
                    _expect_same(source + name, place + name)

    def _listing(self, digest: str, top: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return, for each directory of a layer, parents first, the names of its files."""
        if digest not in self._listings:
            walked = os.walk(top)
            self._listings[digest] = tuple((place[len(top) :], tuple(names)) for place, _, names in walked)
        return self._listings[digest]

    def forget_others(self, used: Iterable[str]) -> None:
        """Remove the layers that no venv has."""
        keep = frozenset(used)
        for entry in self.root.iterdir():
            if _DIGEST.fullmatch(entry.name) and entry.name not in keep:
                remove_tree(entry)


def remove_tree(path: Path) -> None:
    """Remove a tree; a kill in the middle leaves it under an unfinished name only."""
    doomed = files.partial_name(path)
    path.rename(doomed)
    files.remove(doomed)


def _files(top: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(top) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            else:
                yield entry


def _untouched(entry: os.DirEntry[str]) -> bool:
    found = entry.stat(follow_symlinks=False)
    return stat.S_ISREG(found.st_mode) and found.st_mtime == MTIME and not found.st_mode & _WRITABLE


def _make_directory(path: str) -> None:
    try:
        os.mkdir(path)  # noqa: PTH102 -- 10 000s of directories: Path takes five times as long
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise IntegrityError(f"{path!r} is a file and a directory") from None
    else:
        os.chmod(path, 0o755)  # noqa: PTH101, S103 -- as above; the mode of a venv


def _expect_same(source: str, place: str) -> None:
    if not stat.S_ISREG(os.lstat(place).st_mode) or not filecmp.cmp(source, place, shallow=False):
        raise IntegrityError(f"two layers of the venv have different files at {place!r}")

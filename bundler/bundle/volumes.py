"""Volumes: tars of blobs in which each member's data is exactly one zstd frame.

    frame  header of blobs/<sha256>                       (for the next members: padding of the one before it, header)
    frame  the blob                                       located by ``offset`` and ``length`` of its BlobEntry
    …
    frame  padding, symbolic links, end-of-archive        links in the last volume of a group only

A blob is read straight from the medium by its offset, and stock ``tar --zstd`` unpacks the whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bundler.archive.compress import compress_frame
from bundler.archive.tar import END, TarEntry, header, padding
from bundler.bundle.layout import BLOBS, LinkMember, VolumeGroup
from bundler.errors import IntegrityError, SpaceError
from bundler.files import chunks, replacing
from bundler.model.contents import BlobEntry, VolumeEntry

#: zstd levels: of blobs that are compressed already, and of everything else.
FAST, SMALL = 1, 10
#: More than the frame of a volume's last padding and end-of-archive blocks ever takes.
_END_ROOM = 64

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class BlobSource:
    """Where blobs come from: how to open one, how large each is, which are compressed already."""

    open: Callable[[str], IO[bytes]]
    sizes: Mapping[str, int]
    compressed: frozenset[str]

    def level(self, digest: str) -> int:
        """Return the zstd level for the blob."""
        return FAST if digest in self.compressed else SMALL


@dataclass(frozen=True, kw_only=True)
class WrittenVolume:
    """A finished volume and the SHA-256 of its bytes."""

    entry: VolumeEntry
    sha256: str


class _Full(Exception):
    """The blob does not fit into what is left of the volume."""


def write_volumes(
    groups: Sequence[VolumeGroup], source: BlobSource, into: Path, limit: int | None, progress: Progress
) -> tuple[WrittenVolume, ...]:
    """Write the volumes of all groups into a directory, groups in parallel; no file is larger than ``limit``.

    Raises:
        SpaceError: A single blob does not fit into a volume.
        IntegrityError: A blob's bytes are not what its digest says.
    """
    workers = max(1, min(len(groups), os.cpu_count() or 1))
    with ThreadPoolExecutor(max_workers=workers) as pool:
        tasks = [pool.submit(_write_group, group, source, into, limit, progress) for group in groups]
        return tuple(volume for task in tasks for volume in task.result())


def _write_group(
    group: VolumeGroup, source: BlobSource, into: Path, limit: int | None, progress: Progress
) -> list[WrittenVolume]:
    written: list[WrittenVolume] = []
    left = list(reversed(group.blobs))
    last = False
    while not last:
        name = group.volume_name(len(written) + 1)
        with replacing(into / name) as file:
            volume = _VolumeWriter(file, limit, largest=max(source.sizes.values(), default=0))
            _fill(volume, left, source, progress)
            last = not left and volume.finish(group.links)
            if not last:
                volume.finish(())
        entry = VolumeEntry(name=name, target=group.target, size=volume.position, blobs=tuple(volume.blobs))
        written.append(WrittenVolume(entry=entry, sha256=volume.sha256))
    return written


def _fill(volume: _VolumeWriter, left: list[str], source: BlobSource, progress: Progress) -> None:
    """Add blobs from the end of ``left`` until none is left or the volume is full."""
    while left:
        digest = left[-1]
        try:
            with contextlib.closing(source.open(digest)) as data:
                volume.add(digest, source.sizes[digest], data, source.level(digest))
        except _Full:
            return
        progress(source.sizes[digest])
        left.pop()


class _VolumeWriter:
    """One volume while it is written: keeps position, digest and table, and can take back the last member."""

    def __init__(self, file: IO[bytes], limit: int | None, *, largest: int) -> None:
        self.position = 0
        self.blobs: list[BlobEntry] = []
        self._file = file
        self._room = None if limit is None else limit - _END_ROOM
        self._limit = limit
        self._largest = largest
        self._hash = hashlib.sha256()
        self._pending = b""

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def add(self, digest: str, size: int, data: IO[bytes], level: int) -> None:
        """Append a blob, or raise ``_Full`` with the volume as it was."""
        before, hash_before = self.position, self._hash.copy()
        try:
            self._write(_small(self._pending + header(TarEntry(path=BLOBS + digest, size=size))))
            offset = self.position
            for piece in _frame(digest, size, data, level):
                self._write(piece)
        except _Full:
            self._hash = hash_before
            self.position = before
            self._file.seek(before)
            self._file.truncate()
            if not self.blobs:
                raise self._too_large(digest, size) from None
            raise
        self.blobs.append(BlobEntry(sha256=digest, size=size, offset=offset, length=self.position - offset))
        self._pending = padding(size)

    def finish(self, links: Sequence[LinkMember]) -> bool:
        """Append links and the end of the archive; return False, with nothing written, where they do not fit."""
        headers = b"".join(header(TarEntry(path=link.path, kind="link", target=link.to)) for link in links)
        end = _small(self._pending + headers + END)
        if self._limit is not None and self.position + len(end) > self._limit:
            if not self.blobs:
                raise SpaceError(
                    f"the names of a target's files need {len(end)} bytes, more than the volume size {self._limit}",
                    hint=f"choose --volume-size {len(end)} or more",
                )
            return False
        self._room = None
        self._write(end)
        return True

    def _write(self, data: bytes) -> None:
        if self._room is not None and self.position + len(data) > self._room:
            raise _Full
        self._file.write(data)
        self._hash.update(data)
        self.position += len(data)

    def _too_large(self, digest: str, size: int) -> SpaceError:
        # So that the next try does not stop at the next blob; zstd adds less than this to what it cannot compress.
        enough = self._largest + self._largest // 128 + 2048
        return SpaceError(
            f"blob {digest} ({size} bytes) does not fit into a volume of {self._limit} bytes",
            hint=f"choose --volume-size {enough} or more",
        )


def _small(data: bytes) -> bytes:
    return b"".join(compress_frame([data], len(data), SMALL))


def _frame(digest: str, size: int, data: IO[bytes], level: int) -> Iterator[bytes]:
    """Yield the zstd frame of a blob while checking that it is the blob."""
    found = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for piece in chunks(data):
            found.update(piece)
            yield piece

    hint = "remove it from the store and build again"
    try:
        yield from compress_frame(pieces(), size, level)
    except IntegrityError as error:
        raise IntegrityError(f"blob {digest} is damaged: {error.message}", hint=hint) from error
    if found.hexdigest() != digest:
        raise IntegrityError(f"blob {digest} is damaged: its SHA-256 is {found.hexdigest()}", hint=hint)

"""Venv archives: layers in the order of their names, the venv's frame, the end of the archive, concatenated.

``tar --zstd -xf`` reads the concatenation as one archive; :func:`unpack` reads its frames in parallel.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bundler.archive.compress import compress_frame
from bundler.archive.extract import Extraction
from bundler.archive.frames import MAX_HEADER, content_size, decompress_frame
from bundler.archive.tar import END
from bundler.clock import stopwatch
from bundler.errors import LayerCollision, Problem, StoreError
from bundler.events import Emit, ItemFinished, StageAdvanced, StageFinished, StageStarted, ignore
from bundler.files import chunks
from bundler.store.cas import Blob, Store, key_of
from bundler.venvs.collisions import Tables, find_collisions
from bundler.venvs.frame import Frame, FrameRequest, make_frame
from bundler.venvs.layers import Layer

STAGE = "archives"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class VenvArchive:
    """An archive: its bytes are those of ``blobs``, one after the other. ``absolute``: its absolute links by path."""

    blobs: tuple[Blob, ...]
    sha256: str
    size: int
    absolute: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ArchiveRequest:
    """A venv and its layers, in any order."""

    frame: FrameRequest
    layers: Sequence[Layer]
    target: str = ""

    @property
    def item(self) -> str:
        """Return what events and problems call it."""
        return f"{self.frame.name} ({self.target})" if self.target else self.frame.name


def make_archives(
    store: Store, requests: Sequence[ArchiveRequest], *, emit: Emit = ignore
) -> tuple[VenvArchive, ...]:
    """Return the archives of venvs, in the order of ``requests``.

    Raises:
        LayerCollision: Layers of a venv own one path with different content; ``problems`` has all of them, of all
            venvs.
    """
    began = stopwatch()
    emit(StageStarted(stage=STAGE, total=len(requests)))
    tables = Tables(store)
    archives: list[VenvArchive] = []
    problems: list[Problem] = []
    reused = 0
    for request in requests:
        archive, found, known = _make(store, request, tables)
        archives.append(archive)
        problems += found
        reused += known
        emit(ItemFinished(stage=STAGE, item=request.item, note="reused" if known else ""))
        emit(StageAdvanced(stage=STAGE))
    if problems:
        raise LayerCollision(
            f"packages of one venv own the same paths ({len(problems)})",
            hint="leave one of the packages out, or put them into different venvs",
            problems=problems,
        )
    size = sum(archive.size for archive in archives)
    emit(StageFinished(stage=STAGE, seconds=stopwatch() - began, items=len(archives), reused=reused, size=size))
    return tuple(archives)


def _make(store: Store, request: ArchiveRequest, tables: Tables) -> tuple[VenvArchive, list[Problem], bool]:
    """Return an archive, its collisions, and whether both were known."""
    layers = sorted(request.layers, key=lambda layer: layer.package)
    frame = make_frame(store, request.frame)
    end = store.put(compress_frame((END,), len(END)))
    blobs = (*(blob for layer in layers for blob in layer.blobs), frame.blob, end)
    key = key_of("venv-archive", _FORMAT, [blob.digest for blob in blobs])
    known = store.recall("venv-archive", key)
    if known:
        return _archive(blobs, known["sha256"], frame), [], True
    problems = find_collisions(request.item, layers, frame, tables)
    digest = hashlib.sha256()
    for piece in concatenate(store, blobs):
        digest.update(piece)
    if not problems:
        store.remember("venv-archive", key, {"sha256": digest.hexdigest()})
    return _archive(blobs, digest.hexdigest(), frame), problems, False


def _archive(blobs: tuple[Blob, ...], sha256: str, frame: Frame) -> VenvArchive:
    return VenvArchive(
        blobs=blobs, sha256=sha256, size=sum(blob.size for blob in blobs), absolute=dict(frame.absolute)
    )


def concatenate(store: Store, blobs: Sequence[Blob]) -> Iterator[bytes]:
    """Yield the bytes of an archive, each blob's digest checked.

    Raises:
        StoreError: A blob is missing or damaged.
    """
    for blob in blobs:
        yield from _checked(store, blob)


def _checked(store: Store, blob: Blob) -> Iterator[bytes]:
    digest = hashlib.sha256()
    with store.open(blob.digest) as file:
        for piece in chunks(file):
            digest.update(piece)
            yield piece
    if digest.hexdigest() != blob.digest:
        raise StoreError(
            f"blob {blob.digest} is damaged", hint="bundle-build store check removes it; then build again"
        )


def unpack(store: Store, archive: VenvArchive, into: Path, *, workers: int | None = None) -> None:
    """Put the archive's tree into the new or empty directory ``into``, frames in parallel.

    Raises:
        IntegrityError: A frame is damaged, or holds what an archive of ours does not.
        StoreError: A blob is missing or damaged.
    """
    extraction = Extraction(into, absolute=archive.absolute)

    def one(order: int, blob: Blob) -> None:
        with store.open(blob.digest) as file:
            size = content_size(file.read(MAX_HEADER))
        extraction.add(decompress_frame(_checked(store, blob), size), order)

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for _ in pool.map(one, range(len(archive.blobs)), archive.blobs):
            pass
    extraction.finish()

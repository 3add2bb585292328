"""The deep check: every volume as stock tar would unpack it, every blob by its offset, every file put together.

The evidence too is read to its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from bundler.archive.frames import DECODE_ERRORS, open_frames
from bundler.archive.tar import TarEntry
from bundler.archive.untar import members
from bundler.bundle.layout import BLOBS, plan_groups
from bundler.bundle.reader import Bundle
from bundler.clock import stopwatch
from bundler.errors import FormatError, IntegrityError
from bundler.events import Emit, StageAdvanced, StageFinished, StageStarted
from bundler.files import chunks
from bundler.model.contents import FileEntry, VolumeEntry


def decode(bundle: Bundle, workers: int, emit: Emit) -> None:
    """Run :func:`check_deep` as a stage that can be watched.

    Raises:
        IntegrityError, FormatError: As there.
    """
    started = stopwatch()
    blobs = [blob.size for volume in bundle.contents.volumes for blob in volume.blobs]
    emit(StageStarted(stage="decode", total=sum(blobs), unit="bytes"))
    check_deep(bundle, workers, lambda size: emit(StageAdvanced(stage="decode", amount=size)))
    emit(StageFinished(stage="decode", seconds=stopwatch() - started, items=len(blobs), size=sum(blobs)))


def check_deep(bundle: Bundle, workers: int, progress: Callable[[int], None]) -> None:
    """Decode everything and compare.

    Raises:
        IntegrityError: A blob or file is not what ``bundle.json`` says.
        FormatError: A volume unpacks to something that ``bundle.json`` does not list.
    """
    contents = bundle.contents
    links = {(link.path, link.to) for group in plan_groups(contents.files, contents.links) for link in group.links}
    joined = [file for file in contents.files if len(file.blobs) > 1]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        volumes = [pool.submit(_check_volume, bundle, volume, links, progress) for volume in contents.volumes]
        files = [pool.submit(_check_file, bundle, file) for file in joined]
        missing = links.difference(*(task.result() for task in volumes))
        for task in files:
            task.result()
    bundle.evidence()
    if missing:
        raise FormatError(f"the volumes do not unpack to the link {min(missing)[0]!r}")


def _check_volume(
    bundle: Bundle, volume: VolumeEntry, links: set[tuple[str, str]], progress: Callable[[int], None]
) -> set[tuple[str, str]]:
    """Decode a volume both ways and return its links."""
    for blob in volume.blobs:
        _exhaust(bundle.stream_blob(blob.sha256))
        progress(blob.size)
    expected = {f"{BLOBS}{blob.sha256}": blob.size for blob in volume.blobs}
    found: set[tuple[str, str]] = set()
    with bundle.medium.open(volume.name) as file, open_frames(file) as stream:
        try:
            for entry, content in members(chunks(stream), ended=True):
                link = (entry.path, entry.target)
                if entry.kind == "link" and link in links and link not in found:
                    found.add(link)
                    continue
                if entry != TarEntry(path=entry.path, size=expected.pop(entry.path, -1)):
                    raise FormatError(f"{volume.name} unpacks to {entry.path!r}, which is not listed")
                _check_content(content, volume.name, entry.path.removeprefix(BLOBS))
        except DECODE_ERRORS as error:
            raise IntegrityError(f"{volume.name} is damaged: {error}") from error
    if expected:
        raise FormatError(f"{volume.name} does not unpack to {min(expected)}")
    return found


def _check_content(content: Iterable[bytes], volume: str, digest: str) -> None:
    found = hashlib.sha256()
    for piece in content:
        found.update(piece)
    if found.hexdigest() != digest:
        raise IntegrityError(f"{volume} unpacks to another content of blob {digest}")


def _check_file(bundle: Bundle, file: FileEntry) -> None:
    found = hashlib.sha256()
    for digest in file.blobs:
        for piece in bundle.stream_blob(digest):
            found.update(piece)
    if found.hexdigest() != file.sha256:
        raise IntegrityError(f"{file.path} is not the concatenation of its blobs", hint="the bundle was made wrong")


def _exhaust(pieces: Iterable[bytes]) -> None:
    for _ in pieces:
        pass

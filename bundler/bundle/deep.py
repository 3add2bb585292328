"""The deep check: every volume as stock tar would unpack it, every blob by its offset, every file put together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from bundler.archive.frames import DECODE_ERRORS, open_frames
from bundler.bundle.layout import BLOBS, plan_groups
from bundler.bundle.reader import Bundle
from bundler.bundle.tarball import Forward, read_members
from bundler.errors import FormatError, IntegrityError
from bundler.files import CHUNK
from bundler.model.contents import FileEntry, VolumeEntry


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
        tasks = [pool.submit(_check_volume, bundle, volume, links, progress) for volume in contents.volumes]
        tasks += [pool.submit(_check_file, bundle, file) for file in joined]
        for task in tasks:
            task.result()


def _check_volume(
    bundle: Bundle, volume: VolumeEntry, links: set[tuple[str, str]], progress: Callable[[int], None]
) -> None:
    for blob in volume.blobs:
        _exhaust(bundle.stream_blob(blob.sha256))
        progress(blob.size)
    expected = {f"{BLOBS}{blob.sha256}": blob for blob in volume.blobs}
    with bundle.medium.open(volume.name) as file:
        try:
            source = Forward(open_frames(file))
            for member in read_members(source):
                if member.kind == "link" and (member.name, member.to) in links:
                    continue
                if member.kind != "file" or member.name not in expected or member.size != expected[member.name].size:
                    raise FormatError(f"{volume.name} unpacks to {member.name!r}, which is not listed")
                blob = expected.pop(member.name)
                _check_member(source, volume.name, blob.sha256, blob.size)
        except DECODE_ERRORS as error:
            raise IntegrityError(f"{volume.name} is damaged: {error}") from error
    if expected:
        raise FormatError(f"{volume.name} does not unpack to {min(expected)}")


def _check_member(source: Forward, volume: str, digest: str, size: int) -> None:
    found = hashlib.sha256()
    while size and (piece := source.read(min(CHUNK, size))):
        found.update(piece)
        size -= len(piece)
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

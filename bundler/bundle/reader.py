"""Read a bundle: what it says it holds, and any blob or file straight from its volumes.

Whether to *trust* it is :mod:`bundler.bundle.verification`'s to say. What is handed out here is always checked
against ``bundle.json`` first: a blob's bytes leave only after its digest was found right.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bundler.archive.frames import DECODE_ERRORS, decompress_frame, open_frames
from bundler.archive.untar import members
from bundler.bundle.layout import BUNDLE_JSON, EVIDENCE, SUMS
from bundler.bundle.medium import Medium, open_medium, read_bounded
from bundler.errors import FormatError, IntegrityError, UsageError
from bundler.files import chunks
from bundler.model.contents import MAX_BUNDLE_JSON, MAX_SUMS, BlobEntry, Contents, FileEntry, VolumeEntry
from bundler.model.contents_json import parse_contents
from bundler.model.sums import parse_sums

#: Blobs up to this size are checked in memory, larger ones in a temporary file.
IN_MEMORY = 16 << 20
MAX_EVIDENCE = 256 << 20
#: Bytes of a frame that are read at a time: they are still in the processor's cache when they are decoded and hashed.
_PIECE = 256 << 10
_COPY = "copy the bundle anew from its source"


class Bundle:
    """An opened bundle. Threads may share it."""

    def __init__(self, medium: Medium, contents: Contents, digest: str) -> None:
        self.contents = contents
        #: SHA-256 of SHA256SUMS: the bundle's identity.
        self.digest = digest
        self._medium = medium
        self._files = {file.path: file for file in contents.files}
        self._places = {blob.sha256: (volume, blob) for volume in contents.volumes for blob in volume.blobs}

    @property
    def medium(self) -> Medium:
        """Return what the bundle is read from."""
        return self._medium

    def file(self, path: str) -> FileEntry:
        """Return the entry of the repo-host file ``path``.

        Raises:
            UsageError: There is none.
        """
        if path not in self._files:
            near = [name for name in self._files if name.endswith("/" + path)]
            hint = f"did you mean {near[0]}?" if near else "bundle-build inspect lists what there is"
            raise UsageError(f"the bundle has no file {path!r}", hint=hint)
        return self._files[path]

    def place(self, digest: str) -> tuple[VolumeEntry, BlobEntry]:
        """Return where a blob lies.

        Raises:
            UsageError: No volume carries it.
        """
        if digest not in self._places:
            raise UsageError(f"no volume of this bundle carries blob {digest}", hint="is it in the base bundle?")
        return self._places[digest]

    @contextlib.contextmanager
    def open_blob(self, digest: str) -> Iterator[IO[bytes]]:
        """Open a blob for reading, after all of it was read once and found right.

        Raises:
            IntegrityError: Its bytes in the volume are not the blob.
        """
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as checked:
            for piece in self.stream_blob(digest):
                checked.write(piece)
            checked.seek(0)
            yield checked

    def stream_blob(self, digest: str) -> Iterator[bytes]:
        """Yield a blob's bytes as they are decoded. They are right only once the iteration has ended.

        Raises:
            IntegrityError: At the latest after the last piece, if they are not the blob.
        """
        volume, blob = self.place(digest)
        with self._medium.open(volume.name) as file:
            file.seek(blob.offset)
            yield from decode_blob(file, blob)

    def stream_file(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of the repo-host file ``path``; each blob was checked before its first byte is handed out.

        Raises:
            IntegrityError: A blob, or their concatenation, is not what ``bundle.json`` says.
        """
        entry = self.file(path)
        whole = hashlib.sha256()
        for digest in entry.blobs:
            with self.open_blob(digest) as blob:
                for piece in chunks(blob):
                    whole.update(piece)
                    yield piece
        if whole.hexdigest() != entry.sha256:
            raise IntegrityError(f"{path} is not the concatenation of its blobs", hint="the bundle was made wrong")

    def evidence(self) -> dict[str, bytes]:
        """Return path → bytes of everything in the evidence archive.

        Raises:
            IntegrityError, FormatError: It is not the listed one, or no plain tar.
        """
        data = _listed(self._medium, EVIDENCE, parse_sums(read_bounded(self._medium, SUMS, MAX_SUMS)), MAX_EVIDENCE)
        return read_evidence(data)


@contextlib.contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open the bundle at ``path``, a directory or a tar, signed or not.

    Raises:
        BundleError: It is incomplete or damaged.
    """
    with open_medium(path) as medium:
        data = read_bounded(medium, SUMS, MAX_SUMS)
        sums = parse_sums(data)
        contents = parse_contents(_listed(medium, BUNDLE_JSON, sums, MAX_BUNDLE_JSON))
        yield Bundle(medium, contents, hashlib.sha256(data).hexdigest())


def _listed(medium: Medium, name: str, sums: dict[str, str], limit: int) -> bytes:
    data = read_bounded(medium, name, limit)
    if hashlib.sha256(data).hexdigest() != sums.get(name):
        raise IntegrityError(f"{name} is not the one that {SUMS} lists", hint=_COPY)
    return data


def decode_blob(file: IO[bytes], blob: BlobEntry) -> Iterator[bytes]:
    """Yield the blob whose frame begins at the position of ``file``, bounded by its size.

    Raises:
        IntegrityError: The frame is damaged, of another size, or decodes to something else.
    """
    found = hashlib.sha256()
    try:
        for piece in decompress_frame(_limited(file, blob.length), blob.size):
            found.update(piece)
            yield piece
    except IntegrityError as error:
        raise IntegrityError(f"blob {blob.sha256} is damaged: {error.message}", hint=_COPY) from error
    if found.hexdigest() != blob.sha256:
        raise IntegrityError(f"blob {blob.sha256} is damaged: its SHA-256 is {found.hexdigest()}", hint=_COPY)


def _limited(file: IO[bytes], left: int) -> Iterator[bytes]:
    while left and (piece := file.read(min(_PIECE, left))):
        left -= len(piece)
        yield piece


def read_evidence(data: bytes) -> dict[str, bytes]:
    """Return path → bytes of the regular files in a ``.tar.zst`` of limited size.

    Raises:
        IntegrityError: It is cut off, or bytes follow its end.
        FormatError: It is damaged, too large, or holds anything but files.
    """
    found: dict[str, bytes] = {}
    left = MAX_EVIDENCE
    try:
        with open_frames(io.BytesIO(data)) as stream:
            for entry, content in members(chunks(stream), ended=True):
                left -= entry.size
                if entry.kind != "file" or entry.path in found or left < 0:
                    raise FormatError(f"{EVIDENCE}: {entry.path!r} is no file, occurs twice, or is too large")
                found[entry.path] = b"".join(content)
    except DECODE_ERRORS as error:
        raise FormatError(f"{EVIDENCE} is damaged: {error}") from error
    return found

"""A venv archive as a service host sees it: frames by digest, from a file or straight from a bundle's volumes.

All frames but the last two are layers; then come the venv's own frame and the end of the archive.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from bundler.archive.frames import MAX_HEADER, content_size, decompress_frame, gather
from bundler.archive.untar import members
from bundler.deploy.frames_walk import read_range, walk_frames
from bundler.errors import IntegrityError

if TYPE_CHECKING:  # a host that fetches archives starts without it
    from bundler.bundle.reader import Bundle
    from bundler.model.contents import VenvEntry

SUFFIX = ".tar.zst"
#: The own frame and the end of the archive.
_NOT_LAYERS = 2
_PYTHON = "bin/python"
_CONFIG = "pyvenv.cfg"
_MAX_CONFIG = 64 << 10
#: Where links to modules of the distribution lie in a venv, and where they lead.
_SITE, _SYSTEM = "lib/py/site-packages/", ("/usr/lib/python", "/usr/lib64/python")
_COPY = "fetch it anew; if that does not help, the repo host has a damaged one: bundle-install check"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """``name``: of the directory that it becomes; ``open``: the bytes of a frame by its place, right only once read.

    ``sizes``: of the frames as they lie there. ``runtime_packages``: of the distribution, as far as they are known.
    """

    name: str
    sha256: str
    frames: tuple[str, ...]
    sizes: tuple[int, ...]
    open: Callable[[int], Iterator[bytes]]
    runtime_packages: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the digests of the layers, in the archive's order."""
        return self.frames[:-_NOT_LAYERS]

    @property
    def own(self) -> int:
        """Return the place of the venv's own frame."""
        return len(self.frames) - _NOT_LAYERS

    def decoded(self, place: int) -> Iterator[bytes]:
        """Yield what a frame decodes to; it is right only once the iteration has ended.

        Raises:
            IntegrityError: It is damaged, or not the frame with its digest.
        """
        pieces = gather(_checked(self.open(place), self.frames[place]))
        head = next(pieces, b"")
        return decompress_frame(_chain(head, pieces), content_size(head[:MAX_HEADER]))


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


def _checked(pieces: Iterable[bytes], digest: str) -> Iterator[bytes]:
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
        yield piece
    if found.hexdigest() != digest:
        raise IntegrityError(f"frame {digest} is damaged: its SHA-256 is {found.hexdigest()}", hint=_COPY)


def file_archive(name: str, file: IO[bytes], sha256: str) -> Archive:
    """Return the archive in an open file, which must be the one with this SHA-256.

    Raises:
        IntegrityError: It is not, or it is no venv archive of ours.
    """
    walked, found = walk_frames(file)
    if found != sha256:
        raise IntegrityError(f"{name}{SUFFIX} is not the signed one: its SHA-256 is {found}", hint=_COPY)
    _check_count(name, len(walked))
    handle = file.fileno()
    return Archive(
        name=name,
        sha256=sha256,
        frames=tuple(frame.sha256 for frame in walked),
        sizes=tuple(frame.length for frame in walked),
        open=lambda place: read_range(handle, walked[place].offset, walked[place].length),
    )


def bundle_archive(bundle: Bundle, venv: VenvEntry) -> Archive:
    """Return the archive of a venv of a bundle whose ``bundle.json`` was vouched for.

    Raises:
        IntegrityError: It is no venv archive of ours.
    """
    entry = bundle.file(venv.archive)
    name = posixpath.basename(venv.archive).removesuffix(SUFFIX)
    _check_count(name, len(entry.blobs))
    return Archive(
        name=name,
        sha256=entry.sha256,
        frames=entry.blobs,
        sizes=tuple(bundle.place(blob)[1].length for blob in entry.blobs),
        open=lambda place: bundle.stream_blob(entry.blobs[place]),
        runtime_packages=venv.runtime_packages,
    )


def _check_count(name: str, count: int) -> None:
    if count <= _NOT_LAYERS:
        raise IntegrityError(f"{name}{SUFFIX} is no venv archive: it has {count} frames")


@dataclass(frozen=True, kw_only=True)
class OwnFrame:
    """What a venv says of itself: its name, its Python and where that is, and the absolute links that it may have."""

    name: str
    version: str
    executable: str
    absolute: Mapping[str, str]


def read_own_frame(archive: Archive) -> OwnFrame:
    """Return what the venv's own frame says, and make sure that nothing but the end follows it.

    Raises:
        IntegrityError: It lacks what each venv has, or has a link that none of ours has.
    """
    config: dict[str, str] = {}
    absolute: dict[str, str] = {}
    for entry, content in members(archive.decoded(archive.own)):
        if entry.path == _CONFIG and entry.kind == "file" and entry.size <= _MAX_CONFIG:
            lines = b"".join(content).decode("utf-8", "replace").splitlines()
            config = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
        elif entry.target.startswith("/"):
            absolute[entry.path] = _checked_absolute(archive.name, entry.path, entry.target)
    if any(any(piece) for piece in archive.decoded(archive.own + 1)):
        raise IntegrityError(f"{archive.name}{SUFFIX} is no venv archive: its last frame is not the end of a tar")
    if not config.get("prompt") or not config.get("version") or _PYTHON not in absolute:
        raise IntegrityError(f"{archive.name}{SUFFIX} is no venv archive: it has no {_CONFIG} or no {_PYTHON}")
    return OwnFrame(name=config["prompt"], version=config["version"], executable=absolute[_PYTHON], absolute=absolute)


def _checked_absolute(name: str, path: str, target: str) -> str:
    """Accept the link to the interpreter, and links to modules of the distribution; nothing else leaves a venv."""
    system = path.startswith(_SITE) and target.startswith(_SYSTEM)
    if target != posixpath.normpath(target) or not (path == _PYTHON or system):
        raise IntegrityError(f"{name}{SUFFIX}: the link {path!r} points outside: {target!r}")
    return target

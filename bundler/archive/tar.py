"""Deterministic tar segments: members without the end-of-archive blocks, so that segments can be concatenated.

Segments and :data:`END` are a tar. GNU format, because its names are plain bytes whatever the locale of the reader;
owner 0:0 without names, one time for all, two modes. See
https://www.gnu.org/software/tar/manual/html_node/Standard.html.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bundler.errors import FormatError, IntegrityError

Kind: TypeAlias = Literal["file", "directory", "link"]

BLOCK = 512
#: 1980-01-01T00:00:00Z, the oldest time that a zip file can hold.
MTIME = 315532800
#: What ends an archive: GNU tar's record of zero blocks.
END = bytes(10240)
#: Longest name that a header holds itself (bytes).
_SHORT = tarfile.LENGTH_NAME
_TYPES: dict[Kind, bytes] = {"file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}


def _nothing() -> Iterable[bytes]:
    return ()


@dataclass(frozen=True, kw_only=True)
class TarEntry:
    """A member: relative POSIX ``path``; ``read`` gives the ``size`` bytes of a file; ``target`` is a link's text."""

    path: str
    kind: Kind = "file"
    size: int = 0
    executable: bool = False
    target: str = ""
    read: Callable[[], Iterable[bytes]] = _nothing


def file_of(path: str, data: bytes, *, executable: bool = False) -> TarEntry:
    """Return the entry of a small file whose bytes are at hand."""
    return TarEntry(path=path, size=len(data), executable=executable, read=lambda: (data,))


def header(entry: TarEntry) -> bytes:
    """Return the header blocks of ``entry``, with those of a long name or long link text before them.

    Raises:
        FormatError: A name is not Unicode: no tar of ours could be read by every stock tool.
    """
    info = tarfile.TarInfo(entry.path)
    info.type = _TYPES[entry.kind]
    info.size = entry.size
    info.mode = 0o755 if entry.executable or entry.kind == "directory" else 0o644
    if entry.kind == "link":
        info.mode = 0o777
        info.linkname = entry.target
    info.mtime = MTIME
    try:
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")
    except UnicodeEncodeError as error:
        raise FormatError(f"the name {entry.path!r} or its link text is not Unicode") from error


def padding(size: int) -> bytes:
    """Return the zero bytes that fill the last block of ``size`` bytes."""
    return bytes(-size % BLOCK)


def with_directories(entries: Iterable[TarEntry]) -> list[TarEntry]:
    """Return ``entries`` and all directories above them, in the order that :func:`segment` writes."""
    members = {entry.path: entry for entry in entries}
    for path in list(members):
        parent = posixpath.dirname(path)
        while parent and parent not in members:
            members[parent] = TarEntry(path=parent, kind="directory")
            parent = posixpath.dirname(parent)
    return sorted(members.values(), key=lambda entry: entry.path.encode("utf-8", "surrogateescape"))


def header_size(entry: TarEntry) -> int:
    """Return the length of :func:`header` without making it."""
    name = len(entry.path.encode("utf-8", "surrogateescape")) + (entry.kind == "directory")
    size = BLOCK
    for length in (name, len(entry.target.encode("utf-8", "surrogateescape"))):
        if length > _SHORT:
            size += BLOCK + length + 1 + (-(length + 1) % BLOCK)
    return size


def segment_size(entries: Iterable[TarEntry]) -> int:
    """Return how many bytes :func:`segment` gives for ``entries``."""
    return sum(header_size(entry) + entry.size + (-entry.size % BLOCK) for entry in entries)


def segment(entries: Iterable[TarEntry]) -> Iterator[bytes]:
    """Yield the bytes of ``entries`` in the order given, file contents streamed.

    Raises:
        IntegrityError: A file gives more or fewer bytes than its size.
    """
    for entry in entries:
        yield header(entry)
        seen = 0
        for piece in entry.read():
            seen += len(piece)
            yield piece
        if seen != entry.size:
            raise IntegrityError(f"{entry.path} has {seen} bytes instead of {entry.size}")
        if seen % BLOCK:
            yield padding(seen)

"""Read tars back, strictly, forward only: what :mod:`bundler.archive.tar` writes, and headers of a stock tar's.

Nothing here guesses, and nothing that an input says is allocated before it is bounded. :mod:`tarfile` takes damage in
the middle of an archive for its end, and numbers of many forms; it is not used. See POSIX.1-1988 ustar, and
https://www.gnu.org/software/tar/manual/html_node/Standard.html for GNU's long names.
"""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Protocol

from bundler.archive.tar import BLOCK, Kind, TarEntry
from bundler.errors import FormatError, IntegrityError

#: Longest name that is read (bytes): PATH_MAX. Also the most that a pax header may hold.
MAX_NAME = 4096
#: A bundle's volume holds some ten thousand members at the most.
MAX_MEMBERS = 1_000_000
_KINDS: dict[bytes, Kind] = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link"}
_LONG = {tarfile.GNUTYPE_LONGNAME: "name", tarfile.GNUTYPE_LONGLINK: "target"}
_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE)
_GNU_MAGIC, _POSIX_MAGIC = b"ustar  \0", b"ustar\00000"
_MODES = {"file": {0o644, 0o755}, "directory": {0o755}, "link": {0o777}}
_ZERO = bytes(BLOCK)
_HALF = BLOCK // 2


class _Source(Protocol):
    """What the reader needs of a stream."""

    def upto(self, size: int) -> Iterator[bytes]:
        """Yield the next ``size`` bytes, or what there is of them."""

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes, or what there is of them."""


class _Pieces:
    """Bytes that come in pieces of any length."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = b""
        self._at = 0

    def upto(self, size: int) -> Iterator[bytes]:
        while size:
            if self._at == len(self._piece):
                self._piece, self._at = next(self._pieces, b""), 0
                if not self._piece:
                    return
            part = self._piece[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            yield part

    def content(self, size: int) -> Iterator[bytes]:
        """Yield the next ``size`` bytes, or raise IntegrityError where there are fewer."""
        left = size
        for part in self.upto(size):
            left -= len(part)
            yield part
        if left:
            raise _truncated()

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._piece):
            return b"".join(self.upto(size))
        part = self._piece[self._at : end]
        self._at = end
        return part


class _Seekable:
    """A file of a known size; contents are skipped without being read."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        #: How many bytes were read or skipped so far.
        self.position = 0
        self._file = file
        self._size = size

    def upto(self, size: int) -> Iterator[bytes]:
        while size and (piece := self._file.read(size)):
            size -= len(piece)
            self.position += len(piece)
            yield piece

    def take(self, size: int) -> bytes:
        return b"".join(self.upto(size))

    def skip(self, size: int) -> None:
        """Go forward over bytes of a content that nobody wants."""
        if size > self._size - self.position:
            raise _truncated()
        self.position = self._file.seek(size, os.SEEK_CUR)


@dataclass(frozen=True, kw_only=True)
class _Rules:
    """``foreign``: other tars' headers are accepted; ``ended``: there must be an end mark."""

    foreign: bool
    ended: bool


def members(pieces: Iterable[bytes], *, ended: bool = False) -> Iterator[tuple[TarEntry, Iterator[bytes]]]:
    """Yield each member of a tar of ours with its content; what is not read of a content is skipped.

    Segments have no end mark; a whole tar is ``ended``. All pieces are consumed in the end, so that checks at their
    source run. Names come as they stand: see :func:`bundler.archive.extract.checked_path`.

    Raises:
        IntegrityError: The tar is damaged or truncated, or bytes follow its end.
        FormatError: It has members, names or headers that none of ours has.
    """
    source = _Pieces(pieces)
    for entry in _entries(source, _Rules(foreign=False, ended=ended)):
        content = source.content(entry.size)
        yield entry, content
        for _ in content:
            pass
        if _exact(source, -entry.size % BLOCK).strip(b"\0"):
            raise IntegrityError(f"bytes follow the content of {entry.path!r} in the tar")


def index(file: IO[bytes], size: int) -> Iterator[tuple[TarEntry, int]]:
    """Yield each member of a stock tar, ``size`` bytes long, with the offset of its content; only headers are read.

    Raises:
        IntegrityError: The tar is damaged or truncated, or bytes follow its end.
        FormatError: It has members of kinds that are not accepted, or pax headers that rename or resize.
    """
    source = _Seekable(file, size)
    for entry in _entries(source, _Rules(foreign=True, ended=True)):
        yield entry, source.position
        source.skip(entry.size)
        source.skip(-entry.size % BLOCK)


def _entries(source: _Source, rules: _Rules) -> Iterator[TarEntry]:
    """Yield the members; the caller consumes content and padding of one before it asks for the next."""
    for _ in range(MAX_MEMBERS):
        entry = _next_entry(source, rules)
        if entry is None:
            return
        yield entry
    raise FormatError(f"the tar has more than {MAX_MEMBERS} members")


def _next_entry(source: _Source, rules: _Rules) -> TarEntry | None:
    """Return the next member with its long names put in, or None at the end of the tar."""
    long: dict[str, str] = {}
    block = source.take(BLOCK)
    if not block or block == _ZERO:
        _expect_end(source, block, rules)
        return None
    while True:
        size = _checked_size(block)
        kind = block[156:157]
        if kind in _LONG and _LONG[kind] not in long:
            long[_LONG[kind]] = _long_name(source, size)
        elif kind in _PAX and rules.foreign:
            _refuse_overrides(_short_content(source, size))
        else:
            return _entry(block, size, long, rules)
        block = source.take(BLOCK)


def _expect_end(source: _Source, block: bytes, rules: _Rules) -> None:
    """Refuse an end mark of less than two blocks, and anything but zeros after it (POSIX ustar)."""
    if not block and not rules.ended:
        return
    if source.take(BLOCK) != _ZERO:
        raise IntegrityError("the tar ends without its end mark: it is cut off or damaged")
    while rest := source.take(1 << 16):
        if rest.strip(b"\0"):
            raise IntegrityError("bytes follow the end of the tar")


def _checked_size(block: bytes) -> int:
    """Return the size in a header whose checksum holds."""
    if len(block) < BLOCK:
        raise _truncated()
    total = _sum(block[:_HALF]) + _sum(block[_HALF:]) - _sum(block[148:156]) + 8 * ord(" ")
    if _number(block[148:156]) != total:
        raise IntegrityError("the tar is damaged: the checksum of a header is wrong")
    return _number(block[124:136])


def _sum(data: bytes) -> int:
    """Return the sum of at most :data:`_HALF` bytes, many times as fast as :func:`sum`.

    The low half of Adler-32 is one more than it, modulo 65521 (RFC 1950, 8.2), which so few bytes do not reach.
    """
    return (zlib.adler32(data) & 0xFFFF) - 1


def _number(field: bytes) -> int:
    """Return a number field: octal digits, or base 256 where the first byte says so (GNU)."""
    if field[0] == 0x80:  # noqa: PLR2004 - the GNU mark of a positive binary number
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        raise IntegrityError("the tar is damaged: a number in a header is none")
    return int(digits, 8)


def _entry(block: bytes, size: int, long: dict[str, str], rules: _Rules) -> TarEntry:
    name = long.get("name", "") or _name(block)
    kind = _kind(block, name, foreign=rules.foreign)
    mode = _number(block[100:108])
    if not rules.foreign and (block[257:265] != _GNU_MAGIC or mode not in _MODES[kind]):
        raise FormatError(f"tar member {name!r} has a header that is none of ours")
    if not name or (kind != "file" and size) or (kind != "link" and "target" in long):
        raise FormatError(f"tar member {name!r} has a header that contradicts itself")
    return TarEntry(
        path=name.rstrip("/") if kind == "directory" else name,
        kind=kind,
        size=size,
        executable=kind == "file" and bool(mode & 0o100),
        target=(long.get("target", "") or _text(block[157:257])) if kind == "link" else "",
    )


def _kind(block: bytes, name: str, *, foreign: bool) -> Kind:
    kind = block[156:157]
    if foreign and kind == tarfile.AREGTYPE:
        return "directory" if name.endswith("/") else "file"
    if kind not in _KINDS:
        raise FormatError(f"tar member {name!r} is neither a file nor a directory nor a symbolic link")
    return _KINDS[kind]


def _name(block: bytes) -> str:
    name = _text(block[:100])
    prefix = _text(block[345:500]) if block[257:265] == _POSIX_MAGIC else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    try:
        return field.split(b"\0", 1)[0].decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("the tar has a name that is not UTF-8") from error


def _long_name(source: _Source, size: int) -> str:
    data = _short_content(source, size)
    if data.find(b"\0") != size - 1 or size <= 1:
        raise IntegrityError("the tar is damaged: a long name does not end where its header says")
    return _text(data)


def _short_content(source: _Source, size: int) -> bytes:
    if size > MAX_NAME + 1:
        raise FormatError("the tar has a name or a pax header that is too long")
    return _exact(source, size + (-size % BLOCK))[:size]


def _refuse_overrides(data: bytes) -> None:
    """Accept a pax header only if it changes neither name, size nor kind of its member (times, owners)."""
    for key in (b"path=", b"size=", b"GNU.sparse", b"hdrcharset="):
        if key in data:
            raise FormatError("a pax header renames or resizes its member", hint="make the tar with tar --format=gnu")


def _exact(source: _Source, size: int) -> bytes:
    """Return the next ``size`` bytes, or raise IntegrityError where there are fewer."""
    data = source.take(size)
    if len(data) < size:
        raise _truncated()
    return data


def _truncated() -> IntegrityError:
    return IntegrityError("the tar is truncated: it ends inside a member")

"""Tar as bundles use it: header bytes to write, and a strict reader (POSIX.1-1988 ustar, GNU long names).

The reader looks at nothing but headers, allocates nothing that an input can choose, and refuses every kind of
member that a bundle does not have.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Literal, Protocol, TypeAlias

from bundler.errors import FormatError

BLOCK = 512
END = bytes(2 * BLOCK)
#: 1980-01-01, the oldest time that a zip file can hold: the one time stamp of everything we write.
MTIME = 315532800
MAX_NAME = 4096
#: A bundle's volume holds some ten thousand members at the most.
MAX_MEMBERS = 1_000_000
_SKIP = 1 << 20

Kind: TypeAlias = Literal["file", "link", "directory"]
_KINDS: dict[bytes, Kind] = {b"0": "file", b"\0": "file", b"2": "link", b"5": "directory"}


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member: its data, ``size`` bytes, begins at ``offset``; ``to`` is a link's target."""

    name: str
    kind: Kind
    size: int
    offset: int
    to: str = ""


class Source(Protocol):
    """What the reader needs of a stream."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""

    def tell(self) -> int:
        """Return the position."""

    def seek(self, offset: int, /) -> int:
        """Go forward to ``offset``."""


class Forward:
    """A stream that cannot seek, with a position: skips by reading."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._position = 0

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        data = self._stream.read(size)
        self._position += len(data)
        return data

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, /) -> int:
        """Go forward to ``offset`` by reading up to there."""
        while self._position < offset:
            if not self.read(min(_SKIP, offset - self._position)):
                raise FormatError("the tar ends inside a member")
        return self._position


def padding(size: int) -> bytes:
    """Return the zero bytes that follow ``size`` bytes of data."""
    return bytes(-size % BLOCK)


def file_header(name: str, size: int, *, mode: int = 0o644) -> bytes:
    """Return the header blocks of a regular file, root-owned, with the one time stamp."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, mode, MTIME
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def link_header(name: str, to: str) -> bytes:
    """Return the header blocks of a symbolic link."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = tarfile.SYMTYPE, to, 0o777, MTIME
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def read_members(source: Source) -> Iterator[Member]:
    """Yield the members of a tar; between two of them the caller may read the first one's data from ``source``.

    Raises:
        FormatError: A header that is damaged or of a kind that bundles do not have, or a tar that just stops.
    """
    long_name = long_link = ""
    for _ in range(MAX_MEMBERS):
        block = _block(source)
        if block == bytes(BLOCK):
            return
        kind, size = _checked(block)
        offset = source.tell()
        end = offset + size + len(padding(size))
        if kind in (b"L", b"K"):
            text = _long(source, size)
            long_name, long_link = (text, long_link) if kind == b"L" else (long_name, text)
        elif kind in (b"x", b"g"):
            _refuse_overrides(source, size)
        else:
            name = long_name or _name(block)
            to = long_link or _text(block[157:257])
            yield Member(name=name, kind=_kind(kind, name), size=size, offset=offset, to=to)
            long_name = long_link = ""
        source.seek(end)
    raise FormatError("the tar has too many members")


def _block(source: Source) -> bytes:
    block = source.read(BLOCK)
    while block and len(block) < BLOCK and (more := source.read(BLOCK - len(block))):
        block += more
    if len(block) < BLOCK:
        raise FormatError("the tar ends without its end mark: it is cut off")
    return block


def _checked(block: bytes) -> tuple[bytes, int]:
    """Return type and data size of a header whose checksum holds."""
    total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    if _number(block[148:156]) != total:
        raise FormatError("a tar header is damaged")
    kind = block[156:157]
    has_data = kind not in (b"2", b"5")
    return kind, _number(block[124:136]) if has_data else 0


def _number(field: bytes) -> int:
    """Return a number field: octal digits, or base 256 where the first bit is set (GNU)."""
    if field[0] == 0x80:  # noqa: PLR2004 - the GNU mark of a positive binary number
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        raise FormatError("a tar header has a number that is none")
    return int(digits, 8)


def _text(field: bytes) -> str:
    try:
        return field.split(b"\0", 1)[0].decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("a tar header has a name that is not UTF-8") from error


def _name(block: bytes) -> str:
    name = _text(block[:100])
    # Only POSIX ustar has a prefix; GNU's magic is "ustar  \0".
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _long(source: Source, size: int) -> str:
    if size > MAX_NAME:
        raise FormatError("a tar header has a name that is too long")
    return _text(source.read(size))


def _refuse_overrides(source: Source, size: int) -> None:
    """Accept a pax header only if it changes neither name, size nor kind of its member (times, owners)."""
    if size > MAX_NAME:
        raise FormatError("a pax header is too long")
    data = source.read(size)
    for key in (b"path=", b"linkpath=", b"size=", b"GNU.sparse", b"hdrcharset="):
        if key in data:
            raise FormatError("a pax header renames or resizes its member", hint="make the tar with tar --format=gnu")


def _kind(kind: bytes, name: str) -> Kind:
    if kind not in _KINDS:
        raise FormatError(f"tar member {name!r} is neither a file nor a link nor a directory")
    return _KINDS[kind]

"""Read what a second signer wants to know straight out of a wheel, bounded whatever the wheel says of itself."""

from __future__ import annotations

import hashlib
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from bundler.attest.licences import licence_of
from bundler.errors import FormatError
from bundler.model.review_facts import StartFile, WheelFacts, installed_path, runs_at_start, start_code
from bundler.venvs.entry_points import EntryPoint, parse_entry_points

_ELF = b"\x7fELF"
#: The largest text that is read out of a wheel: METADATA holds whole manuals at times.
MAX_TEXT = 4 << 20
MAX_MEMBERS = 200_000
#: What wheels are made with, and what can be decoded piece by piece.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, kw_only=True)
class _Member:
    """A file of a wheel: as the wheel names it, and as it is installed."""

    info: zipfile.ZipInfo
    name: str
    path: str


def read_wheel(file: IO[bytes], filename: str) -> WheelFacts:
    """Return what the wheel open at ``file`` brings.

    Raises:
        FormatError: It is no wheel, or something in it is damaged, encrypted or too large.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, filename)
            return _facts(archive, members, filename)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise FormatError(f"{filename} is no readable wheel: {error}") from error


def _members(archive: zipfile.ZipFile, filename: str) -> list[_Member]:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > MAX_MEMBERS:
        raise FormatError(f"{filename} has {len(infos)} members")
    for info in infos:
        if info.compress_type not in _METHODS:
            raise FormatError(f"{filename}: {info.filename!r} is compressed as no wheel is")
    return [_Member(info=info, name=info.filename, path=installed_path(info.filename)) for info in infos]


def _facts(archive: zipfile.ZipFile, members: list[_Member], filename: str) -> WheelFacts:
    points = _entry_points(archive, members, filename)
    scripts = {point.name: point.value for point in points if point.is_script}
    scripts |= dict.fromkeys(_script_files(members), "a file of the wheel")
    metadata = _dist_info(archive, members, "METADATA", filename)
    return WheelFacts(
        start=tuple(_start_files(archive, members, filename)),
        native=tuple(sorted(member.path for member in members if _is_elf(archive, member))),
        scripts=tuple(sorted(scripts.items())),
        points=tuple((point.group, point.name, point.value) for point in points if not point.is_script),
        licence=str(licence_of(metadata)),
    )


def _entry_points(archive: zipfile.ZipFile, members: list[_Member], filename: str) -> tuple[EntryPoint, ...]:
    text = _dist_info(archive, members, "entry_points.txt", filename).decode("utf-8", "replace")
    return parse_entry_points(text, filename)


def _script_files(members: list[_Member]) -> Iterator[str]:
    for member in members:
        if member.path != member.name and posixpath.dirname(member.path) == "bin":
            yield posixpath.basename(member.path)


def _start_files(archive: zipfile.ZipFile, members: list[_Member], filename: str) -> Iterator[StartFile]:
    for member in members:
        if runs_at_start(member.path):
            data = _read(archive, member.info, filename)
            code = start_code(member.path, data.decode("utf-8-sig", "replace"))
            yield StartFile(path=member.path, sha256=hashlib.sha256(data).hexdigest(), code=code)


def _is_elf(archive: zipfile.ZipFile, member: _Member) -> bool:
    with archive.open(member.info) as file:
        return file.read(len(_ELF)) == _ELF


def _dist_info(archive: zipfile.ZipFile, members: list[_Member], name: str, filename: str) -> bytes:
    """Return a file of the wheel's ``.dist-info`` directory; nothing where there is none."""
    for member in members:
        directory, _, base = member.name.partition("/")
        if directory.endswith(".dist-info") and base == name:
            return _read(archive, member.info, filename)
    return b""


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, filename: str) -> bytes:
    with archive.open(info) as file:
        data = file.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        raise FormatError(f"{filename}: {info.filename!r} is larger than {MAX_TEXT} bytes")
    return data

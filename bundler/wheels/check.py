"""Checks a wheel before anything is made from it: PyPA binary distribution format, and fit for the target.

Steps, tagged in the code:

1. The file name parses, names the locked package and version, and one of its tags fits the target.
2. Every member has a safe name and an ordinary type; no name occurs twice.
3. There is one ``.dist-info`` and at most one ``.data``, both of this distribution; ``.data`` holds only schemes.
4. ``WHEEL`` has a version we know and says where the root goes; ``METADATA`` names the locked package and version.
5. ``RECORD`` lists every file and nothing else, each with a size and a strong hash that hold.
6. ELF files are of the target's machine and need no glibc newer than the target's.

Fetched wheels are held to the same rules as those we build. Tolerated, because pip and uv accept them and published
wheels have them: signature files that RECORD leaves out, a RECORD row without size, directory entries, and foreign
ELF files inside wheels whose platform is ``any`` (payloads, test data).
"""

from __future__ import annotations

import email
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from bundler.archive.elf import MAGIC, read_elf
from bundler.errors import Problem, WheelRefused
from bundler.files import chunks
from bundler.model.target import Target
from bundler.wheels.record import Row, hash_of, parse_record, unsafe

#: Rises whenever the rules change, so that remembered verdicts are not trusted for new ones.
CHECK_VERSION = 1
SCHEMES = frozenset({"purelib", "platlib", "scripts", "data", "headers"})
_SIGNATURES = ("RECORD.jws", "RECORD.p7s")
_IN_MEMORY = 8 << 20
_SMALL = 16 << 20
_ENCRYPTED = 0x1
_REGULAR, _DIRECTORY, _TYPE = 0o100000, 0o040000, 0o170000


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the wheel must be: its file name, the locked package and version, and the target."""

    filename: str
    name: str
    version: str
    target: Target


@dataclass(kw_only=True)
class _Check:
    expected: Expected
    archive: zipfile.ZipFile
    tags: frozenset[Tag]
    problems: list[Problem] = field(default_factory=list)
    files: dict[str, zipfile.ZipInfo] = field(default_factory=dict)
    dist_info: str = ""

    def fault(self, what: str, member: str = "") -> None:
        where = f"{self.expected.filename}: {member}" if member else self.expected.filename
        self.problems.append(Problem(where=where, what=what))

    @property
    def portable(self) -> bool:
        return all(tag.platform == "any" for tag in self.tags)


def check_wheel(path: Path, expected: Expected) -> list[Problem]:
    """Return everything that is wrong with the wheel file at ``path``; empty when it may be used."""
    tags, problems = check_filename(expected)
    if problems:
        return problems
    try:
        with zipfile.ZipFile(path) as archive:
            check = _Check(expected=expected, archive=archive, tags=tags)
            _check_members(check)
            if not check.problems:
                _check_layout(check)
            if not check.problems:
                _check_documents(check)
                _check_contents(check)
            return check.problems
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        return [Problem(where=expected.filename, what=f"is no readable zip archive: {error}")]


def check_filename(expected: Expected) -> tuple[frozenset[Tag], list[Problem]]:
    """Step 1: return the tags of the file name, and what is wrong with it."""
    where = expected.filename
    try:
        name, version, _, tags = parse_wheel_filename(expected.filename)
    except (InvalidWheelFilename, InvalidVersion) as error:
        return frozenset(), [Problem(where=where, what=f"is no wheel file name: {error}")]
    problems = []
    if name != canonicalize_name(expected.name) or not _same_version(str(version), expected.version):
        problems.append(Problem(where=where, what=f"is not the locked {expected.name} {expected.version}"))
    if not tags.intersection(expected.target.tags):
        target = expected.target
        fits = f"{target.name} (Python {target.python.version}, glibc {target.glibc[0]}.{target.glibc[1]})"
        problems.append(Problem(where=where, what=f"has no tag that fits {fits}"))
    return tags, problems


def _same_version(found: str, expected: str) -> bool:
    try:
        return Version(found) == Version(expected)
    except InvalidVersion:
        return found == expected


def _check_members(check: _Check) -> None:
    """Step 2."""
    for info in check.archive.infolist():
        kind = (info.external_attr >> 16) & _TYPE
        why = unsafe(info.filename.removesuffix("/") if info.is_dir() else info.filename)
        if why:
            check.fault(why, info.filename)
        elif info.flag_bits & _ENCRYPTED:
            check.fault("is encrypted", info.filename)
        elif kind not in (0, _DIRECTORY if info.is_dir() else _REGULAR):
            check.fault("is neither a file nor a directory", info.filename)
        elif info.filename in check.files:
            check.fault("occurs twice", info.filename)
        elif not info.is_dir():
            check.files[info.filename] = info


def _check_layout(check: _Check) -> None:
    """Step 3."""
    tops = {name.partition("/")[0] for name in check.files if "/" in name}
    infos = sorted(top for top in tops if top.endswith(".dist-info"))
    if len(infos) != 1:
        check.fault(f"has {len(infos)} .dist-info directories instead of one: {', '.join(infos) or 'none'}")
        return
    check.dist_info = infos[0]
    datas = sorted(top for top in tops if top.endswith(".data"))
    for directory in (*infos, *datas):
        stem = directory.removesuffix(".dist-info").removesuffix(".data")
        if not _is_own(stem, check.expected):
            check.fault("is of another distribution", directory)
    if len(datas) > 1:
        check.fault(f"has several .data directories: {', '.join(datas)}")
    for name in check.files:
        top, _, rest = name.partition("/")
        if top in datas and (rest.partition("/")[0] not in SCHEMES or "/" not in rest):
            check.fault(f"is outside the schemes {', '.join(sorted(SCHEMES))}", name)


def _is_own(stem: str, expected: Expected) -> bool:
    name, _, version = stem.rpartition("-")
    return canonicalize_name(name) == canonicalize_name(expected.name) and _same_version(version, expected.version)


def _check_documents(check: _Check) -> None:
    """Step 4."""
    wheel = email.message_from_bytes(_read(check, "WHEEL"))
    if not str(wheel.get("Wheel-Version", "")).strip().startswith("1."):
        check.fault(f"has Wheel-Version {wheel.get('Wheel-Version')!r}; 1.x is known", f"{check.dist_info}/WHEEL")
    if str(wheel.get("Root-Is-Purelib", "")).strip().lower() not in ("true", "false"):
        check.fault("does not say Root-Is-Purelib: true or false", f"{check.dist_info}/WHEEL")
    metadata = email.message_from_bytes(_read(check, "METADATA"))
    name, version = str(metadata.get("Name", "")), str(metadata.get("Version", ""))
    expected = check.expected
    if canonicalize_name(name) != canonicalize_name(expected.name) or not _same_version(version, expected.version):
        what = f"names {name or 'nothing'} {version}, not the locked {expected.name} {expected.version}"
        check.fault(what, f"{check.dist_info}/METADATA")


def _read(check: _Check, name: str) -> bytes:
    info = check.files.get(f"{check.dist_info}/{name}")
    if info is None:
        check.fault("is missing", f"{check.dist_info}/{name}")
        return b""
    if info.file_size > _SMALL:
        check.fault(f"has {info.file_size} bytes", info.filename)
        return b""
    return check.archive.read(info)


def _check_contents(check: _Check) -> None:
    """Steps 5 and 6, reading each member once."""
    rows, faults = parse_record(_read(check, "RECORD"))
    for member, what in faults:
        check.fault(what, member)
    exempt = {f"{check.dist_info}/{name}" for name in ("RECORD", *_SIGNATURES)}
    for name in sorted(set(rows) - set(check.files)):
        check.fault("is in RECORD and not in the archive", name)
    for name, info in check.files.items():
        if name in exempt:
            continue
        row = rows.get(name)
        if row is None:
            check.fault("is not in RECORD", name)
        else:
            _check_member(check, info, row)


def _check_member(check: _Check, info: zipfile.ZipInfo, row: Row) -> None:
    digest = hash_of(row)
    if digest is None:
        check.fault("has no SHA-256 or stronger hash in RECORD", info.filename)
        return
    with (
        check.archive.open(info) as source,
        tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy,
    ):
        elf, size = False, 0
        for piece in chunks(source):
            elf = elf or (size == 0 and piece.startswith(MAGIC))
            size += len(piece)
            digest.update(piece)
            if elf:
                copy.write(piece)
        if not row.matches(digest):
            check.fault("does not have the hash that RECORD gives", info.filename)
        elif row.size is not None and row.size != size:
            check.fault(f"has {size} bytes, RECORD says {row.size}", info.filename)
        elif elf:
            copy.seek(0)
            _check_elf(check, info.filename, cast("IO[bytes]", copy))


def _check_elf(check: _Check, name: str, file: IO[bytes]) -> None:
    """Step 6."""
    target = check.expected.target
    try:
        elf = read_elf(file)
    except WheelRefused as error:
        if not check.portable:
            check.fault(error.message, name)
        return
    if elf.machine != target.arch:
        if not check.portable:
            check.fault(f"is compiled for {elf.machine}, not {target.arch}", name)
    elif elf.glibc > target.glibc:
        needs, has = ".".join(map(str, elf.glibc)), ".".join(map(str, target.glibc))
        check.fault(f"needs glibc {needs}; {target.name} has {has}", name)

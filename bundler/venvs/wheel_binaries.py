"""The ELF files of a wheel by where they will lie in a venv: read once ever, then remembered in the store."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import IO, Any, cast

from bundler.archive.elf import MAGIC, Elf, read_elf
from bundler.errors import WheelRefused
from bundler.files import chunks
from bundler.model.wheel import Wheel
from bundler.store.cas import Store, key_of
from bundler.venvs.layer_tree import layer_path

#: Rises whenever the same wheel would give other facts.
FORMAT = 1
_IN_MEMORY = 8 << 20
_DATA = ".data/"


def wheel_binaries(wheel: Wheel, store: Store) -> dict[str, Elf]:
    """Return the ELF files of a checked wheel, by path below the venv's root; damaged ones are left out.

    Raises:
        LayerError: A path leaves its directory.
        StoreError: The wheel is not in the store.
    """
    key = key_of(FORMAT, wheel.digest, wheel.name)
    known = store.recall("wheel-binaries", key)
    if isinstance(known, dict):
        return {path: _from_json(facts) for path, facts in known.items()}
    with store.open(wheel.digest) as file, zipfile.ZipFile(file) as archive:
        found = dict(sorted(_read(archive, wheel.name)))
    store.remember("wheel-binaries", key, {path: asdict(elf) for path, elf in found.items()})
    return found


def _read(archive: zipfile.ZipFile, package: str) -> Iterator[tuple[str, Elf]]:
    for info in archive.infolist():
        if info.file_size < len(MAGIC) or info.is_dir():
            continue
        with archive.open(info) as member, tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
            head = member.read(len(MAGIC))
            if head != MAGIC:
                continue
            copy.write(head)
            copy.writelines(chunks(member))
            copy.seek(0)
            try:
                yield _place(info.filename, package), read_elf(cast("IO[bytes]", copy))
            except WheelRefused:
                continue


def _place(member: str, package: str) -> str:
    """Return where a member of the wheel lies below the venv's root."""
    top, _, rest = member.partition("/")
    if not f"{top}/".endswith(_DATA):
        return layer_path("purelib", member, package)
    scheme, _, path = rest.partition("/")
    return layer_path(scheme, path, package)


def _from_json(facts: Mapping[str, Any]) -> Elf:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    values["requires"] = {library: tuple(versions) for library, versions in facts["requires"].items()}
    return Elf(**values)

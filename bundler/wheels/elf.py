"""What a compiled file needs from the system: machine, newest glibc symbol version, shared libraries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from bundler.errors import WheelRefused

MAGIC = b"\x7fELF"
_MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64", "EM_386": "i686", "EM_ARM": "armv7l"}
_GLIBC = re.compile(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?")
_CLASS_64 = 64


@dataclass(frozen=True, kw_only=True)
class Elf:
    """``glibc`` is (0, 0) where no versioned symbol is needed; ``needed`` are the DT_NEEDED libraries."""

    machine: str
    glibc: tuple[int, int]
    needed: tuple[str, ...]


def read_elf(file: IO[bytes]) -> Elf:
    """Return what the ELF file open at ``file`` needs.

    Raises:
        WheelRefused: It starts like an ELF file and is none.
    """
    try:
        elf = ELFFile(file)
        sections = list(elf.iter_sections())
        machine = _MACHINES.get(elf["e_machine"], str(elf["e_machine"]))
        if machine == "x86_64" and elf.elfclass != _CLASS_64:
            machine = "x32"
        return Elf(machine=machine, glibc=_newest_glibc(sections), needed=_needed(sections))
    except (ELFError, ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError) as error:
        raise WheelRefused(f"damaged ELF file: {error}") from error


def _newest_glibc(sections: Sequence[object]) -> tuple[int, int]:
    newest = (0, 0)
    for section in sections:
        if isinstance(section, GNUVerNeedSection):
            for _, versions in section.iter_versions():
                for version in versions:
                    match = _GLIBC.fullmatch(version.name)
                    if match:
                        newest = max(newest, (int(match[1]), int(match[2])))
    return newest


def _needed(sections: Sequence[object]) -> tuple[str, ...]:
    return tuple(
        str(tag.needed)  # type: ignore[attr-defined]  # set by the library per kind of tag
        for section in sections
        if isinstance(section, DynamicSection)
        for tag in section.iter_tags("DT_NEEDED")
    )

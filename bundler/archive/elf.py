"""What a compiled file asks of the dynamic loader, and what it offers to others: read from its headers, not run.

ELF gABI 4.1, dynamic section; symbol versions as in the Linux Standard Base (.gnu.version_d, .gnu.version_r).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import Dynamic, DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection
from elftools.elf.segments import InterpSegment

from bundler.errors import WheelRefused

MAGIC = b"\x7fELF"
_MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64", "EM_386": "i686", "EM_ARM": "armv7l"}
_GLIBC = re.compile(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?")
_CLASS_64 = 64
#: Flag of a needed version that may be absent, and of DT_FLAGS_1: not in the system's directories.
_WEAK, _NODEFLIB = 0x2, 0x800


@dataclass(frozen=True, kw_only=True)
class Elf:
    """``glibc`` is (0, 0) where no versioned symbol is needed; ``needed`` are the DT_NEEDED libraries.

    ``rpath`` is empty where ``runpath`` is given (then None is no RUNPATH at all): the loader ignores it.
    ``requires`` are the symbol versions that each library must define, ``defines`` those that this one does.
    """

    machine: str
    glibc: tuple[int, int] = (0, 0)
    needed: tuple[str, ...] = ()
    soname: str = ""
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] | None = None
    default_places: bool = True
    interpreter: str = ""
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defines: tuple[str, ...] = ()


def read_elf(file: IO[bytes]) -> Elf:
    """Return what the ELF file open at ``file`` needs and defines.

    Raises:
        WheelRefused: It starts like an ELF file and is none.
    """
    try:
        elf = ELFFile(file)
        sections = list(elf.iter_sections())
        requires = _requires(sections)
        versions = [version for library in requires.values() for version in library]
        return Elf(
            machine=_machine(elf),
            glibc=max((_glibc(version) for version in versions), default=(0, 0)),
            interpreter=next((s.get_interp_name() for s in elf.iter_segments() if isinstance(s, InterpSegment)), ""),
            requires={library: tuple(name for name in names if names[name]) for library, names in requires.items()},
            defines=tuple(_defines(sections)),
            **_dynamic(elf, sections),
        )
    except (ELFError, ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError) as error:
        raise WheelRefused(f"damaged ELF file: {error}") from error


def _machine(elf: ELFFile) -> str:
    machine = _MACHINES.get(elf["e_machine"], str(elf["e_machine"]))
    return "x32" if machine == "x86_64" and elf.elfclass != _CLASS_64 else machine


def _glibc(version: str) -> tuple[int, int]:
    match = _GLIBC.fullmatch(version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _requires(sections: Sequence[object]) -> dict[str, dict[str, bool]]:
    """Return library → version → whether the loader insists on it."""
    return {
        str(library.name): {str(one.name): not one["vna_flags"] & _WEAK for one in versions}
        for section in sections
        if isinstance(section, GNUVerNeedSection)
        for library, versions in section.iter_versions()
    }


def _defines(sections: Sequence[object]) -> Iterator[str]:
    for section in sections:
        if isinstance(section, GNUVerDefSection):
            for _, names in section.iter_versions():
                yield str(next(names).name)


def _dynamic(elf: ELFFile, sections: Sequence[object]) -> dict[str, Any]:
    """Return what the dynamic section says; where section headers are stripped the segment is read."""
    found: list[Dynamic] = [section for section in sections if isinstance(section, DynamicSection)]
    if not sections:
        found = [segment for segment in elf.iter_segments() if isinstance(segment, Dynamic)]
    values: dict[str, Any] = {"needed": ()}
    runpath: tuple[str, ...] | None = None
    tags: list[Any] = [tag for part in found for tag in part.iter_tags()]
    for tag in tags:
        kind = tag.entry.d_tag
        if kind == "DT_NEEDED":
            values["needed"] += (str(tag.needed),)
        elif kind == "DT_SONAME":
            values["soname"] = str(tag.soname)
        elif kind == "DT_RPATH":
            values["rpath"] = _path(tag.rpath)
        elif kind == "DT_RUNPATH":
            runpath = _path(tag.runpath)
        elif kind == "DT_FLAGS_1":
            values["default_places"] = not tag.entry.d_val & _NODEFLIB
    return values if runpath is None else {**values, "rpath": (), "runpath": runpath}


def _path(text: str) -> tuple[str, ...]:
    """Return the directories of a search path; an empty one, the current directory, is none that can be relied on."""
    return tuple(part for part in str(text).split(":") if part)

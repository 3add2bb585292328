"""The shared libraries of a root file system as its dynamic loader sees them, without running anything of it.

ld.so(8) and ldconfig(8): the directories of ``/etc/ld.so.conf``, then the loader's own. Files of another machine are
passed over, as the loader does. The cache that ldconfig wrote is not read: it says the same.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundler.archive.elf import MAGIC, Elf, read_elf
from bundler.buildenv.dpkg import Package, open_dpkg, resolve
from bundler.errors import WheelRefused

_CONFIGURATION = "/etc/ld.so.conf"
#: Files that include each other are followed this deep.
_DEPTH = 5


@dataclass(frozen=True, kw_only=True)
class Binary:
    """An ELF file by its absolute path: a ``wheel`` brought it into the venv, or ``packages`` own it in a system."""

    path: str
    elf: Elf
    wheel: str = ""
    packages: tuple[Package, ...] = ()


class SystemLibraries:
    """The libraries below ``root`` for machine ``arch``; what was looked at is remembered."""

    def __init__(self, root: Path, arch: str) -> None:
        self.root = root
        self.arch = arch
        self.dpkg = open_dpkg(root)
        self.directories = tuple(dict.fromkeys((*_configured(root, _CONFIGURATION, _DEPTH), *_built_in(arch))))
        self._known: dict[str, Binary | None] = {}

    @property
    def lib(self) -> str:
        """Return what ``$LIB`` stands for."""
        multiarch = f"lib/{self.arch}-linux-gnu"
        return multiarch if (self.root / "usr" / multiarch).is_dir() else "lib64"

    def find(self, name: str) -> Binary | None:
        """Return the library ``name`` from the first directory that has it."""
        if name not in self._known:
            places = (posixpath.join(directory, name) for directory in self.directories)
            self._known[name] = next(filter(None, map(self.at, places)), None)
        return self._known[name]

    def at(self, path: str) -> Binary | None:
        """Return the ELF file at an absolute path, if there is one for this machine."""
        if path not in self._known:
            self._known[path] = self._look(path)
        return self._known[path]

    def _look(self, path: str) -> Binary | None:
        real = resolve(self.root, path)
        elf = None if real is None else _read(self.root / real[1:])
        if elf is None or elf.machine != self.arch:
            return None
        return Binary(path=path, elf=elf, packages=self.dpkg.owners(path) if self.dpkg else ())


def _read(path: Path) -> Elf | None:
    with contextlib.suppress(OSError, WheelRefused), path.open("rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            file.seek(0)
            return read_elf(file)
    return None


def _built_in(arch: str) -> tuple[str, ...]:
    """Return the directories of Debian's loaders and of those of Red Hat's family."""
    multiarch = f"{arch}-linux-gnu"
    return (f"/lib/{multiarch}", f"/usr/lib/{multiarch}", "/lib64", "/usr/lib64", "/lib", "/usr/lib")


def _configured(root: Path, path: str, depth: int) -> Iterator[str]:
    real = resolve(root, path)
    if real is None or not depth:
        return
    for line in (root / real[1:]).read_text("utf-8", "replace").splitlines():
        words = re.split(r"[\s:,]+", line.partition("#")[0].strip())
        if words[0] == "include":
            for pattern in words[1:]:
                inside = posixpath.join(posixpath.dirname(path), pattern)
                for found in sorted(root.glob(inside.lstrip("/"))):
                    yield from _configured(root, f"/{found.relative_to(root)}", depth - 1)
        elif words[0] != "hwcap":
            yield from (word.partition("=")[0] for word in words if word.startswith("/"))

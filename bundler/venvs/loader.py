"""What the dynamic loader would do with a file of a venv, step by step as ld.so(8) describes it.

For each needed library, breadth first:

1. One that is loaded already, by the name that was asked for or by its DT_SONAME, is taken.
2. Without DT_RUNPATH: the DT_RPATH of the file, then of what loaded it, up to the first.
3. The DT_RUNPATH of the file itself.
4. Unless DF_1_NODEFLIB is set: the system's directories.
5. Each symbol version that the file needs of a library must be defined there, if that defines any.

LD_LIBRARY_PATH is empty. What a system library needs is looked for too: a package may lack a dependency.
"""

from __future__ import annotations

import posixpath
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bundler.buildenv.dpkg import Package
from bundler.venvs.layer_tree import SITE
from bundler.venvs.system_libraries import Binary, SystemLibraries

_VERSIONED = re.compile(r"lib(64)?/(python3\.[0-9]+/)?(?P<rest>.*)")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A library that ``binary`` needs and cannot have, or, with ``versions``, one that lacks those.

    ``first`` is the file of the venv for which it was loaded; ``found`` a library that is there, and is not for this
    venv: packages own it that it may not count on, or none does.
    """

    first: Binary
    binary: Binary
    name: str
    found: Binary | None = None
    versions: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Loading:
    """What loading one file of a venv gave: all that is loaded, by path, and what is wrong."""

    loaded: dict[str, Binary] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Loader:
    """``inside`` are the ELF files of the venv at ``install_path``, by absolute path.

    ``allowed`` are the packages of the system whose libraries the venv may use; None: all, where no package manager
    tells whose they are.
    """

    install_path: str
    inside: Mapping[str, Binary]
    system: SystemLibraries
    allowed: frozenset[Package] | None

    def load(self, first: Binary) -> Loading:
        """Return what happens when ``first`` is loaded, or run."""
        done = Loading(loaded={first.path: first})
        interpreter = first.elf.interpreter
        if interpreter and self.system.at(interpreter) is None:
            done.failures.append(Failure(first=first, binary=first, name=interpreter))
            return done
        names: dict[str, Binary | None] = {first.elf.soname: first} if first.elf.soname else {}
        left: deque[tuple[Binary, ...]] = deque([(first,)])
        while left:
            chain = left.popleft()
            for name in chain[0].elf.needed:
                if name not in names:  # step 1
                    names[name] = self._load(name, chain, done, left)
                    self._also_known(names, name)
        for binary in done.loaded.values():
            if binary.wheel:
                done.failures += _lacking(first, binary, names)
        return done

    @staticmethod
    def _also_known(names: dict[str, Binary | None], name: str) -> None:
        found = names[name]
        if found is not None and found.elf.soname:
            names.setdefault(found.elf.soname, found)

    def _load(
        self, name: str, chain: tuple[Binary, ...], done: Loading, left: deque[tuple[Binary, ...]]
    ) -> Binary | None:
        found = self._search(name, chain)
        if found is None or not self._is_for_us(found):
            done.failures.append(Failure(first=chain[-1], binary=chain[0], name=name, found=found))
            return None
        if found.path not in done.loaded:
            done.loaded[found.path] = found
            left.append((found, *chain))
        return found

    def _is_for_us(self, found: Binary) -> bool:
        if found.wheel or self.allowed is None:
            return True
        return any(package in self.allowed for package in found.packages)

    def _search(self, name: str, chain: tuple[Binary, ...]) -> Binary | None:
        if "/" in name:
            return self._at(self._expanded(name, chain[0]))
        for directory in self._places(chain):
            found = self._at(posixpath.join(directory, name))
            if found:
                return found
        return self.system.find(name) if chain[0].elf.default_places else None  # step 4

    def _places(self, chain: tuple[Binary, ...]) -> Iterator[str]:
        own = chain[0].elf.runpath
        if own is None:  # step 2
            for binary in chain:
                yield from (self._expanded(path, binary) for path in binary.elf.rpath)
        else:  # step 3
            yield from (self._expanded(path, chain[0]) for path in own)

    def _expanded(self, path: str, binary: Binary) -> str:
        """Return ``path`` with the loader's own tokens filled in."""
        tokens = {"ORIGIN": posixpath.dirname(binary.path), "LIB": self.system.lib, "PLATFORM": self.system.arch}
        return re.sub(r"\$(?:\{(\w+)\}|(ORIGIN|LIB|PLATFORM))", lambda m: tokens.get(m[1] or m[2], m[0]), path)

    def _at(self, path: str) -> Binary | None:
        if not path.startswith("/"):
            return None
        plain = posixpath.normpath(path)
        inside = f"{self.install_path.rstrip('/')}/"
        if plain.startswith(inside):
            match = _VERSIONED.fullmatch(plain[len(inside) :])
            if match:
                top = posixpath.dirname(SITE) if match[2] else "lib"
                plain = f"{inside}{top}/{match['rest']}"
            return self.inside.get(plain)
        return self.system.at(path)


def _lacking(first: Binary, binary: Binary, names: Mapping[str, Binary | None]) -> Iterator[Failure]:
    """Step 5."""
    for name, versions in binary.elf.requires.items():
        library = names.get(name)
        if library is not None and library.elf.defines:
            lacking = tuple(version for version in versions if version not in library.elf.defines)
            if lacking:
                yield Failure(first=first, binary=binary, name=name, found=library, versions=lacking)

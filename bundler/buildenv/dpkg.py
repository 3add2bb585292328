"""dpkg's database below any root, read without running anything: which packages are there, what they own and need.

``<root>/var/lib/dpkg/status`` and ``info/*.list``, as dpkg(1) and deb-control(5) describe them. The root may be of
another architecture. Where ``/lib`` is a link to ``/usr/lib``, a file is found by either name.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bundler.errors import BuildEnvironmentError

_DATABASE = Path("var/lib/dpkg")
#: What every Debian system has besides what is essential or required: packages come to it by apt.
_BASE = ("apt",)
_INSTALLED = frozenset({"installed", "triggers-pending", "triggers-awaited"})
_FIELD = re.compile(r"([A-Za-z0-9-]+):[ \t]*(.*)")
#: The name in one alternative of a relation: no version, no architecture but one that is asked for by name.
_RELATION = re.compile(r"\s*([a-z0-9][a-z0-9+.-]*)(?::([a-z0-9-]+))?")
#: Top directories that usrmerge makes links.
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32")
#: Symbolic links that are followed before it counts as a cycle, as Linux does.
_LINKS = 40


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installed package; ``depends`` are groups of alternatives, ``provides`` virtual names."""

    name: str
    version: str
    arch: str
    essential: bool = False
    depends: tuple[tuple[str, ...], ...] = ()
    provides: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}={self.version}:{self.arch}"


class Dpkg:
    """The packages that are installed below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packages = tuple(sorted(_read_status(root / _DATABASE / "status"), key=str))
        self._merged = frozenset(name for name in _MERGED if (root / name).is_symlink())

    @cached_property
    def _names(self) -> Mapping[str, tuple[Package, ...]]:
        found: dict[str, list[Package]] = defaultdict(list)
        for package in self.packages:
            found[package.name].append(package)
        return {name: tuple(packages) for name, packages in found.items()}

    @cached_property
    def _providers(self) -> Mapping[str, tuple[Package, ...]]:
        found: dict[str, list[Package]] = defaultdict(list)
        for package in self.packages:
            for name in package.provides:
                found[name].append(package)
        return {name: tuple(packages) for name, packages in found.items()}

    @cached_property
    def _owners(self) -> Mapping[str, tuple[Package, ...]]:
        found: dict[str, tuple[Package, ...]] = {}
        for package in self.packages:
            for path in self._listed(package):
                key = self._key(path)
                found[key] = (*found.get(key, ()), package)
        return found

    def find(self, name: str) -> tuple[Package, ...]:
        """Return the installed packages called ``name`` (also ``name:arch``), else those that provide it."""
        match = _RELATION.match(name)
        if match is None:
            return ()
        arch = match[2] if match[2] not in (None, "any", "native") else ""
        named = self._names.get(match[1], ())
        fitting = tuple(one for one in named if arch in ("", one.arch))
        return fitting or self._providers.get(match[1], ())

    def files(self, name: str) -> list[str] | None:
        """Return the paths that package ``name`` owns, directories too; None where it is not installed."""
        packages = self._names.get(name.partition(":")[0], ())
        return [path for package in packages for path in self._listed(package)] if packages else None

    def owners(self, path: str) -> tuple[Package, ...]:
        """Return the packages that own an absolute path below the root, by its name or by what it links to."""
        real = resolve(self.root, path)
        return self._owners.get(self._key(path)) or (self._owners.get(self._key(real), ()) if real else ())

    def closure(self, names: Iterable[str]) -> frozenset[Package]:
        """Return the packages called ``names`` and all that they depend on; names that are not there are passed over.

        Of alternatives the first that is installed counts.
        """
        found: set[Package] = set()
        left = [package for name in names for package in self.find(name)]
        while left:
            package = left.pop()
            if package not in found:
                found.add(package)
                left += [one for group in package.depends for one in self._first(group, package)]
        return frozenset(found)

    def base(self, python: str = "") -> frozenset[Package]:
        """Return what every such system has: essential, required, apt, python3, and ``python`` (``python3.13``)."""
        essential = [str(one.name) for one in self.packages if one.essential]
        return self.closure([*essential, *_BASE, "python3", *([python] if python else [])])

    def _first(self, group: tuple[str, ...], wanting: Package) -> tuple[Package, ...]:
        for name in group:
            found = self.find(name)
            same = tuple(one for one in found if one.arch in (wanting.arch, "all"))
            if found:
                return same or found
        return ()

    def _listed(self, package: Package) -> list[str]:
        info = self.root / _DATABASE / "info"
        files = (info / f"{package.name}:{package.arch}.list", info / f"{package.name}.list")
        found = next((file for file in files if file.is_file()), None)
        return [] if found is None else found.read_text("utf-8", "surrogateescape").splitlines()

    def _key(self, path: str) -> str:
        top = path.split("/", 2)[1] if path.startswith("/") else ""
        return f"/usr{path}" if top in self._merged else path


@functools.lru_cache(maxsize=8)
def _as_it_stands(root: Path, inode: int, changed: int) -> Dpkg:
    """Return the database whose status file is that one: dpkg replaces it with every change."""
    del inode, changed
    return Dpkg(root)


def open_dpkg(root: Path) -> Dpkg | None:
    """Return the database below ``root``; None where the system has no dpkg.

    Raises:
        BuildEnvironmentError: It cannot be read.
    """
    try:
        found = (root / _DATABASE / "status").stat()
        return _as_it_stands(root, found.st_ino, found.st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BuildEnvironmentError(
            f"dpkg's database below {root} cannot be read: {error.strerror}", hint="is the root file system whole?"
        ) from error


def runtime_closure(root: Path, packages: Iterable[str]) -> frozenset[str]:
    """Return the names of ``packages`` and of all that they depend on, as installed below ``root``."""
    dpkg = open_dpkg(root)
    return frozenset(package.name for package in dpkg.closure(packages)) if dpkg else frozenset()


def owner_of(root: Path, path: str) -> str:
    """Return the name of the package that owns an absolute path below ``root``, or nothing."""
    dpkg = open_dpkg(root)
    return next((package.name for package in dpkg.owners(path)), "") if dpkg else ""


def installed_versions(root: Path) -> tuple[str, ...]:
    """Return every installed package below ``root`` as ``name=version:arch``, sorted; nothing without dpkg."""
    dpkg = open_dpkg(root)
    return tuple(str(package) for package in dpkg.packages) if dpkg else ()


def resolve(root: Path, path: str) -> str | None:
    """Return the absolute ``path`` below ``root`` with all links followed inside it; None where it does not exist."""
    left = path.split("/")[::-1]
    done: list[str] = []
    links = 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del done[-1:]
            continue
        here = root.joinpath(*done, part)
        try:
            goal = str(here.readlink()) if here.is_symlink() else None
        except OSError:
            return None
        if goal is None:
            done.append(part)
            continue
        links += 1
        if links > _LINKS:
            return None
        if goal.startswith("/"):
            done = []
        left += goal.split("/")[::-1]
    return f"/{'/'.join(done)}" if root.joinpath(*done).exists() else None


def _read_status(path: Path) -> Iterator[Package]:
    for paragraph in path.read_text("utf-8", "replace").split("\n\n"):
        fields = _fields(paragraph)
        state = fields.get("status", "").split()
        if state[-1:] and state[-1] in _INSTALLED and fields.get("package"):
            yield Package(
                name=fields["package"],
                version=fields.get("version", ""),
                arch=fields.get("architecture", ""),
                essential=fields.get("essential") == "yes" or fields.get("priority") == "required",
                depends=tuple(_groups(fields.get("pre-depends", ""))) + tuple(_groups(fields.get("depends", ""))),
                provides=tuple(name for group in _groups(fields.get("provides", "")) for name in group),
            )


def _fields(paragraph: str) -> dict[str, str]:
    """Return the first lines of all fields by lower-case name; those that we read have one line."""
    matches = (_FIELD.match(line) for line in paragraph.splitlines())
    return {match[1].lower(): match[2].strip() for match in matches if match}


def _groups(relations: str) -> Iterator[tuple[str, ...]]:
    """Yield the alternatives of each relation, as ``name`` or ``name:arch``."""
    for relation in filter(None, (part.strip() for part in relations.split(","))):
        matches = (_RELATION.match(one) for one in relation.split("|"))
        yield tuple(f"{match[1]}:{match[2]}" if match[2] else match[1] for match in matches if match)

"""Where regions of marker environments overlap, and a short text of what is left of one.

Decided on a finite grid: for every variable the values that the markers name, their neighbours, and the values that
occur on real systems; variables that depend on each other (``os_name`` and ``sys_platform``) vary together.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from packaging.version import InvalidVersion, Version

from bundler.model.marker_regions import Atom, Group, MarkerRefused, Region, atoms

_WORD = re.compile(r"[A-Za-z0-9_.+-]+")
_MINORS = ("2.7", *(f"3.{minor}" for minor in range(21)), "4.0")
_PLATFORMS = (
    ("posix", "linux", "Linux"),
    ("posix", "darwin", "Darwin"),
    ("nt", "win32", "Windows"),
    ("posix", "cygwin", "CYGWIN_NT-10.0"),
)
_IMPLEMENTATIONS = (("cpython", "CPython"), ("pypy", "PyPy"), ("graalpy", "GraalVM"))
_MACHINES = (
    "x86_64",
    "aarch64",
    "armv7l",
    "i686",
    "i386",
    "x86",
    "ppc64le",
    "s390x",
    "riscv64",
    "AMD64",
    "arm64",
    "",
)
_OTHER = "other"
_MOST_POINTS = 20_000
_MOST_TERMS = 64
_MOST_ATOMS = 100
_Term: TypeAlias = tuple[Atom, ...]


class Grid:
    """The points on which regions are compared; a set of points is one whole number, a bit per point."""

    def __init__(self, regions: Iterable[Region]) -> None:
        """Lay the grid for ``regions``.

        Raises:
            MarkerRefused: They name so many values that they cannot be compared.
        """
        named = list(dict.fromkeys(itertools.chain.from_iterable(atoms(region) for region in regions)))
        if len(named) > _MOST_ATOMS:
            raise MarkerRefused("the markers hold too many comparisons to be compared")
        axes = [_classes(axis, named) for axis in _axes(named)]
        size = math.prod(len(axis) for axis in axes)
        if size > _MOST_POINTS:
            raise MarkerRefused("the markers name too many values to be compared")
        self._points = [_union(rows) for rows in itertools.product(*axes)]
        self._known: dict[Atom, int] = {}
        self.everywhere = (1 << size) - 1

    def mask(self, region: Region) -> int:
        """Return the points of ``region``."""
        if isinstance(region, Atom):
            return self._atom(region)
        masks = [self.mask(part) for part in region.parts]
        if region.word == "or":
            return _any(masks)
        return _all(masks, self.everywhere)

    def simplify(self, region: Region) -> Region:
        """Return a short region with the same points: alternatives of comparisons; ``region`` if that grows."""
        terms = self._terms(region)
        if terms is None:
            return region
        return _as_region(self._shorten(terms))

    def _atom(self, atom: Atom) -> int:
        if atom not in self._known:
            mask = 0
            for place, point in enumerate(self._points):
                mask |= atom.holds(point[atom.variable]) << place
            self._known[atom] = mask
        return self._known[atom]

    def _conjunct(self, term: _Term) -> int:
        return _all([self._atom(atom) for atom in term], self.everywhere)

    def _terms(self, region: Region) -> list[_Term] | None:
        if isinstance(region, Atom):
            return [(region,)]
        parts = [self._terms(part) for part in region.parts]
        found: list[_Term] = [] if region.word == "or" else [()]
        for part in parts:
            if part is None:
                return None
            joined = [*found, *part] if region.word == "or" else [_join(a, b) for a in found for b in part]
            found = [term for term in dict.fromkeys(joined) if self._conjunct(term)]
            if len(found) > _MOST_TERMS:
                return None
        return found

    def _shorten(self, terms: list[_Term]) -> list[_Term]:
        """Drop alternatives, then comparisons, that make no difference."""
        whole = _any([self._conjunct(term) for term in terms])
        for term in list(terms):
            rest = [other for other in terms if other is not term]
            if _any([self._conjunct(other) for other in rest]) == whole:
                terms = rest
        return [self._shorten_term(term, whole) for term in terms]

    def _shorten_term(self, term: _Term, whole: int) -> _Term:
        for atom in term:
            rest = tuple(other for other in term if other is not atom)
            if self._conjunct(rest) | whole == whole:
                term = rest
        return term


def _join(left: _Term, right: _Term) -> _Term:
    return tuple(dict.fromkeys((*left, *right)))


def _as_region(terms: Sequence[_Term]) -> Region:
    parts = [term[0] if len(term) == 1 else Group("and", term) for term in terms]
    return parts[0] if len(parts) == 1 else Group("or", tuple(parts))


def _any(masks: Iterable[int]) -> int:
    total = 0
    for mask in masks:
        total |= mask
    return total


def _all(masks: Iterable[int], everywhere: int) -> int:
    for mask in masks:
        everywhere &= mask
    return everywhere


def _union(rows: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {key: value for row in rows for key, value in row.items()}


def _classes(rows: Iterable[Mapping[str, str]], named: Sequence[Atom]) -> list[Mapping[str, str]]:
    """Return one row for each way in which the comparisons come out."""
    found: dict[tuple[bool, ...], Mapping[str, str]] = {}
    for row in rows:
        verdicts = tuple(atom.holds(row[atom.variable]) for atom in named if atom.variable in row)
        found.setdefault(verdicts, row)
    return list(found.values())


def _values(named: Iterable[Atom]) -> dict[str, set[str]]:
    """Return for each variable the values that the texts name, at which a comparison may change its mind."""
    values: dict[str, set[str]] = {}
    parts: dict[str, set[str]] = {}
    for atom in named:
        values.setdefault(atom.variable, set()).add(atom.value)
        if atom.mirrored:
            parts.setdefault(atom.variable, set()).add(atom.value)
        elif atom.operator in ("in", "not in"):
            values[atom.variable].update(_WORD.findall(atom.value))
    for variable, pieces in parts.items():
        values[variable].update("".join(pair) for pair in itertools.permutations(sorted(pieces), 2))
    return values


def _axes(named: Sequence[Atom]) -> Iterator[Iterable[Mapping[str, str]]]:
    values = _values(named)
    if not values.keys().isdisjoint(("python_version", "python_full_version")):
        yield _pythons(values)
    if "implementation_version" in values:
        yield ({"implementation_version": str(one)} for one in _neighbours(values["implementation_version"]))
    if not values.keys().isdisjoint(("os_name", "sys_platform", "platform_system")):
        yield _platforms(values)
    if not values.keys().isdisjoint(("implementation_name", "platform_python_implementation")):
        yield _implementations(values)
    if "platform_machine" in values:
        yield ({"platform_machine": one} for one in sorted({*_MACHINES, *values["platform_machine"], _OTHER}))


def _pythons(literals: Mapping[str, set[str]]) -> Iterator[dict[str, str]]:
    full = literals.get("python_full_version", set())
    near = set(_neighbours({*_MINORS, *literals.get("python_version", set()), *full}))
    if not full:
        minors = {version.release[:2] for version in near}
        yield from ({"python_version": f"{major}.{minor}"} for major, minor in sorted(minors))
        return
    for version in sorted(near):
        major, minor, _ = version.release
        yield {"python_version": f"{major}.{minor}", "python_full_version": str(version)}


def _neighbours(values: Iterable[str]) -> Iterator[Version]:
    """Yield, as ``X.Y.Z``, the versions around each value: a comparison changes its mind at one of them."""
    found: set[tuple[int, int, int]] = set()
    for value in values:
        try:
            release = (*Version(value.removesuffix(".*")).release, 0, 0)
        except InvalidVersion:
            continue
        major, minor, patch = release[:3]
        for near in (minor - 1, minor, minor + 1):
            found.update({(major, near, 0), (major, near, 99)})
        found.update({(major, minor, near) for near in (patch - 1, patch, patch + 1)})
    for triple in sorted(found):
        if min(triple) >= 0:
            yield Version(".".join(str(part) for part in triple))


def _platforms(literals: Mapping[str, set[str]]) -> Iterator[dict[str, str]]:
    known = [set(column) for column in zip(*_PLATFORMS, strict=True)]
    os_names = known[0] | literals.get("os_name", set()) | {"java", _OTHER}
    platforms = literals.get("sys_platform", set()) - known[1] | {_OTHER}
    systems = known[2] | literals.get("platform_system", set()) | {_OTHER}
    rows = {*_PLATFORMS, *itertools.product(os_names, platforms, systems)}
    for os_name, platform, system in sorted(rows):
        yield {"os_name": os_name, "sys_platform": platform, "platform_system": system}


def _implementations(literals: Mapping[str, set[str]]) -> Iterator[dict[str, str]]:
    known = [set(column) for column in zip(*_IMPLEMENTATIONS, strict=True)]
    names = literals.get("implementation_name", set()) - known[0] | {_OTHER}
    labels = literals.get("platform_python_implementation", set()) - known[1] | {_OTHER}
    for name, label in sorted({*_IMPLEMENTATIONS, *itertools.product(names, labels)}):
        yield {"implementation_name": name, "platform_python_implementation": label}

"""Regions of marker environments: the tree of a marker, its opposite and its text.

A marker (PEP 508, "Environment Markers") is read into a tree of comparisons that can be inverted. Whether regions
overlap is decided on a grid, see :mod:`bundler.model.marker_grid`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from packaging.specifiers import InvalidSpecifier, Specifier
from packaging.version import Version

_VERSIONS = ("python_version", "python_full_version", "implementation_version")
_STRINGS = (
    "os_name",
    "sys_platform",
    "platform_system",
    "platform_machine",
    "implementation_name",
    "platform_python_implementation",
)
_INVERSE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "not in", "not in": "in"}
_MIRROR = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_TOKEN = re.compile(r"""\s*(?:(?P<value>"[^"]*"|'[^']*')|(?P<op>[<>=!~]+)|(?P<paren>[()])|(?P<word>[A-Za-z_.]+))""")


class MarkerRefused(ValueError):
    """A marker that a constraint cannot carry; the text says why."""


@dataclass(frozen=True)
class Atom:
    """One comparison; ``mirrored`` puts the value first (``"arm" in platform_machine``)."""

    variable: str
    operator: str
    value: str
    mirrored: bool = False

    def __str__(self) -> str:
        quote = "'" if '"' in self.value else '"'
        value = f"{quote}{self.value}{quote}"
        left, right = (value, self.variable) if self.mirrored else (self.variable, value)
        return f"{left} {self.operator} {right}"

    def holds(self, value: str) -> bool:
        """Return whether the comparison is true where its variable has ``value``."""
        if self.operator in ("in", "not in"):
            found = self.value in value if self.mirrored else value in self.value
            return found == (self.operator == "in")
        if self.variable in _VERSIONS:
            return _specifier(f"{self.operator}{self.value}").contains(value, prereleases=True)
        return (value == self.value) == (self.operator == "==")


@lru_cache(maxsize=1024)
def _specifier(text: str) -> Specifier:
    return Specifier(text)


@dataclass(frozen=True)
class Group:
    """Comparisons joined by one word; ``and`` of nothing is everywhere, ``or`` of nothing nowhere."""

    word: Literal["and", "or"]
    parts: tuple[Region, ...]

    def __str__(self) -> str:
        texts = [
            f"({part})" if isinstance(part, Group) and part.word != self.word else str(part) for part in self.parts
        ]
        return f" {self.word} ".join(texts)


Region: TypeAlias = Atom | Group
EVERYWHERE = Group("and", ())


@lru_cache(maxsize=4096)
def parse(text: str) -> Region:
    """Return the region of a valid marker; of no marker: everywhere.

    Raises:
        MarkerRefused: It names a variable or comparison that says nothing certain about a target.
    """
    if not text:
        return EVERYWHERE
    tokens = list(_tokens(text))
    region = _alternatives(tokens)
    if tokens:
        raise MarkerRefused(f"cannot read the marker {text!r}")
    return region


def negate(region: Region) -> Region:
    """Return where ``region`` is not, by De Morgan's laws; exact for final Python versions."""
    if isinstance(region, Group):
        return Group("or" if region.word == "and" else "and", tuple(negate(part) for part in region.parts))
    return Atom(region.variable, _INVERSE[region.operator], region.value, region.mirrored)


def without(region: Region, others: Iterable[Region]) -> Region:
    """Return ``region`` less all ``others``."""
    kept = () if region == EVERYWHERE else (region,)
    return Group("and", (*kept, *(negate(other) for other in others)))


def atoms(region: Region) -> Iterator[Atom]:
    """Yield the comparisons of ``region`` from left to right."""
    if isinstance(region, Atom):
        yield region
        return
    for part in region.parts:
        yield from atoms(part)


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise MarkerRefused(f"cannot read the marker {text!r}")
        yield match.group().strip()
        position = match.end()


def _alternatives(tokens: list[str]) -> Region:
    parts = [_conjunction(tokens)]
    while tokens and tokens[0] == "or":
        tokens.pop(0)
        parts.append(_conjunction(tokens))
    return parts[0] if len(parts) == 1 else Group("or", tuple(parts))


def _conjunction(tokens: list[str]) -> Region:
    parts = [_operand(tokens)]
    while tokens and tokens[0] == "and":
        tokens.pop(0)
        parts.append(_operand(tokens))
    return parts[0] if len(parts) == 1 else Group("and", tuple(parts))


def _operand(tokens: list[str]) -> Region:
    try:
        if tokens[0] == "(":
            tokens.pop(0)
            region = _alternatives(tokens)
            tokens.pop(0)
            return region
        left, operator = tokens.pop(0), tokens.pop(0)
        if operator == "not":
            operator = f"not {tokens.pop(0)}"
        return _comparison(left, operator, tokens.pop(0))
    except IndexError:
        raise MarkerRefused("the marker ends too early") from None


def _comparison(left: str, operator: str, right: str) -> Region:
    mirrored = left[0] in "\"'"
    value, variable = (left, right) if mirrored else (right, left)
    if value[0] not in "\"'" or variable[0] in "\"'":
        raise MarkerRefused(f"{left} {operator} {right} does not compare a variable with a text")
    value = value[1:-1]
    if variable not in (*_VERSIONS, *_STRINGS):
        raise MarkerRefused(f"the marker variable {variable} says nothing about a target")
    if mirrored and operator in _MIRROR:
        operator, mirrored = _MIRROR[operator], False
    if operator in ("in", "not in"):
        return Atom(variable, operator, value, mirrored)
    _check_operator(variable, operator, value, mirrored=mirrored)
    if operator == "~=":
        return _compatible(variable, value)
    return Atom(variable, operator, value)


def _check_operator(variable: str, operator: str, value: str, *, mirrored: bool) -> None:
    if variable in _STRINGS:
        if operator not in ("==", "!="):
            raise MarkerRefused(f"{variable} {operator} compares a text by order; write == or !=")
        return
    if operator == "===" or mirrored:
        raise MarkerRefused(f"{variable} {operator} in a marker cannot be told apart from its opposite; write ==")
    try:
        Specifier(f"{operator}{value}")
    except InvalidSpecifier:
        raise MarkerRefused(f"{variable} {operator} {value!r} compares with what is no version") from None


def _compatible(variable: str, value: str) -> Region:
    """Return ``~=`` as its definition says (version specifiers, "Compatible release"), which can be inverted."""
    release = Version(value).release
    prefix = ".".join(str(part) for part in release[:-1])
    return Group("and", (Atom(variable, ">=", value), Atom(variable, "==", f"{prefix}.*")))

"""The lines of a constraints file: what one says about one package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import InvalidVersion, Version

from bundler.errors import Problem
from bundler.model.marker_regions import MarkerRefused, parse
from bundler.model.requirement import has_credentials, redacted

_LONGEST_LINE = 8192
_SHOWN = 120
_COMMENT = re.compile(r"(^|\s)#.*$")
_BREAK = re.compile(r"\r\n|\r|\n")
_OPTION = re.compile(r"(?:^|\s)(-[A-Za-z]\b|--[a-z][a-z-]*)")
_PIN = re.compile(r"===\s*(?P<any>\S+)|==\s*(?P<version>[^\s,*]+)")
_OPTION_HINTS = {
    "-r": "list that file as a layer of its own",
    "--requirement": "list that file as a layer of its own",
    "-c": "list that file as a layer of its own",
    "--constraint": "list that file as a layer of its own",
    "-e": "write name @ git+https://…@commit",
    "--editable": "write name @ git+https://…@commit",
    "--hash": "leave the hash out: the lock records the hash of every file",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line: ``constraint`` is ``===2.2.6``, ``<3,>=2``, ``@ URL`` or empty (free); ``where`` is ``file:line``."""

    name: str
    constraint: str
    marker: str
    layer: str
    where: str

    @property
    def requirement(self) -> str:
        """Return the line as PEP 508 has it, with the normalised name."""
        text = f"{self.name} {self.constraint}" if self.url else f"{self.name}{self.constraint}"
        return f"{text} ; {self.marker}" if self.marker else text

    @property
    def place(self) -> str:
        """Return layer and ``file:line``, on one line whatever the names hold."""
        return " ".join(f"{self.layer} {self.where}".split())

    @property
    def url(self) -> str:
        """Return the direct reference, or nothing."""
        return self.constraint.removeprefix("@ ") if self.constraint.startswith("@ ") else ""

    @cached_property
    def pin(self) -> str:
        """Return the one version that the line allows, in normal form, or nothing."""
        match = None if self.url else _PIN.fullmatch(self.constraint)
        if match is None:
            return ""
        return normal_version(match["any"] or match["version"])

    def agrees(self, other: Entry) -> bool:
        """Return whether both lines say the same, markers apart."""
        return (self.pin or self.constraint) == (other.pin or other.constraint)

    def contradicts(self, other: Entry) -> bool:
        """Return whether no version, or no one source, can satisfy both lines."""
        if self.url and other.url:
            return self.url != other.url
        if self.url or other.url:
            return False
        if self.pin and other.pin:
            return self.pin != other.pin
        return self._excludes(other) or other._excludes(self)

    def _excludes(self, other: Entry) -> bool:
        try:
            version = Version(self.pin)
        except InvalidVersion:
            return False
        return not SpecifierSet(other.constraint).contains(version, prereleases=True)


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and content of each line, continuations joined, comments and blank lines left out."""
    start, pending = 0, ""
    for number, raw in enumerate(_BREAK.split(text.removeprefix("\ufeff")), start=1):
        start = start if pending else number
        if raw.endswith("\\") and not raw.lstrip().startswith("#"):
            pending += raw[:-1] + " "
            continue
        line = _COMMENT.sub("", pending + raw).strip()
        pending = ""
        if line:
            yield start, line
    line = _COMMENT.sub("", pending).strip()
    if line:
        yield start, line


def read_line(layer: str, line: str, where: str) -> Entry | Problem:
    """Return what ``line`` says, or what is wrong with it."""
    refusal = _refusal(line, where)
    if refusal is not None:
        return refusal
    try:
        requirement = Requirement(line)
        marker = "" if requirement.marker is None else str(requirement.marker)
        parse(marker)
    except InvalidRequirement as error:
        what = f"{shown(line)!r} is no constraint: {shown(str(error).splitlines()[0])}"
        return Problem(where=where, what=what, hint=_form_hint(line))
    except MarkerRefused as error:
        return Problem(where=where, what=str(error))
    except RecursionError:
        return Problem(where=where, what="the marker is nested too deeply")
    if requirement.extras:
        what = f"{shown(line)!r} has extras, which a constraint cannot have"
        return Problem(where=where, what=what, hint="leave [..] out; extras belong to the venv's packages")
    constraint = f"@ {requirement.url}" if requirement.url else str(requirement.specifier)
    name = canonicalize_name(requirement.name)
    return Entry(name=name, constraint=constraint, marker=marker, layer=layer, where=where)


def _refusal(line: str, where: str) -> Problem | None:
    """Return why a line is refused before it is parsed."""
    if len(line) > _LONGEST_LINE:
        return Problem(where=where, what=f"the line is longer than {_LONGEST_LINE} characters")
    option = _OPTION.search(line)
    if option is not None:
        name = option[1]
        hint = _OPTION_HINTS.get(name, "leave it out: the manifest holds such settings")
        return Problem(where=where, what=f"the option {name} has no place in a constraint layer", hint=hint)
    if "${" in line:
        return Problem(where=where, what="variables like ${NAME} are not filled in", hint="write the value")
    if has_credentials(line):
        what = f"{shown(line)!r} holds credentials, which would reach the lock and the bundle"
        return Problem(where=where, what=what, hint="keep them in netrc, keyring or git's credential helper")
    return None


def _form_hint(line: str) -> str:
    if line.startswith(("git+", "http:", "https:", "file:")):
        return "a constraint needs its package's name: write name @ URL"
    if line.startswith((".", "/")):
        return "a local path cannot constrain a package"
    return "write name==version, with an optional ; marker"


def shown(text: str) -> str:
    """Return ``text`` for a message: short, and without credentials."""
    text = redacted(text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def normal_version(version: str) -> str:
    """Return the version in normal form (PEP 440); what is none stays, in lower case."""
    try:
        return canonicalize_version(Version(version))
    except InvalidVersion:
        return version.lower()

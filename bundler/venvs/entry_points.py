"""What ``entry_points.txt`` of a wheel says (entry points specification, PyPA)."""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass

from bundler.errors import LayerError, Problem

SCRIPT_GROUPS = ("console_scripts", "gui_scripts")
_VALUE = re.compile(r"(?P<module>\w+(?:\.\w+)*)\s*(?::\s*(?P<attr>\w+(?:\.\w+)*))?\s*(?:\[.*\])?")


@dataclass(frozen=True, kw_only=True)
class EntryPoint:
    """One line of ``entry_points.txt``: in ``group``, ``name`` is ``value``, that is ``module:attr [extras]``."""

    group: str
    name: str
    value: str

    @property
    def is_script(self) -> bool:
        """Return whether it becomes a file in ``bin``."""
        return self.group in SCRIPT_GROUPS

    @property
    def module(self) -> str:
        """Return the module's dotted name, empty where the value is malformed."""
        match = _VALUE.fullmatch(self.value)
        return match["module"] if match else ""

    @property
    def attr(self) -> str:
        """Return the object inside the module, empty where the module itself is meant."""
        match = _VALUE.fullmatch(self.value)
        return (match["attr"] or "") if match else ""


def parse_entry_points(text: str, where: str) -> tuple[EntryPoint, ...]:
    """Return all entry points in the order of group and name.

    Raises:
        LayerError: The file does not parse, or scripts of it cannot be made; ``problems`` lists them.
    """
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names are case-sensitive
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise LayerError(f"{where}: entry_points.txt does not parse: {error}") from error
    found = [
        EntryPoint(group=group, name=name, value=value.strip())
        for group in parser.sections()
        for name, value in parser.items(group)
    ]
    faults = [(point, _fault(point)) for point in found]
    problems = [Problem(where=where, what=f"script {point.name!r}: {why}") for point, why in faults if why]
    if problems:
        raise LayerError(f"{where} declares scripts that cannot be made", problems=problems)
    return tuple(sorted(found, key=lambda point: (point.group, point.name)))


def _fault(point: EntryPoint) -> str:
    """Return why a script cannot be made of ``point``; other groups are their readers' business."""
    if not point.is_script:
        return ""
    if not point.name or point.name in (".", "..") or any(char in point.name for char in "/\0\n"):
        return "its name is no file name"
    if not point.module or not point.attr:
        return f"{point.value!r} names no callable, write module:function"
    return ""

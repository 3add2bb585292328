"""Core metadata of a source without running anything, where the source promises that it holds for its wheels."""

from __future__ import annotations

import email
import email.message
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from bundler.wheels.requirements import read_pyproject

_STATIC_SINCE = Version("2.2")
#: Fields that must not be dynamic for the metadata to serve a resolver (PEP 643).
_NEEDED = frozenset({"version", "requires-dist", "provides-extra", "requires-python"})
_LARGEST = 16 << 20


def static_metadata(project: Path) -> bytes | None:
    """Return the METADATA that a wheel of the source in ``project`` will have, or None where it must be asked for.

    Taken from PKG-INFO of an sdist where it is of version 2.2 or later and declares what matters static (PEP 643),
    else from [project] of pyproject.toml where nothing that matters is dynamic (PEP 621).
    """
    return _from_pkg_info(project / "PKG-INFO") or _from_project(read_pyproject(project).get("project"))


def _from_pkg_info(path: Path) -> bytes | None:
    if not path.is_file() or path.is_symlink() or path.stat().st_size > _LARGEST:
        return None
    data = path.read_bytes()
    message = email.message_from_bytes(data)
    try:
        promised = Version(str(message.get("Metadata-Version", "0"))) >= _STATIC_SINCE
    except InvalidVersion:
        return None
    dynamic = {str(name).strip().lower() for name in message.get_all("Dynamic", ())}
    complete = bool(message.get("Name")) and bool(message.get("Version"))
    return data if promised and complete and not dynamic & _NEEDED else None


def _from_project(table: Any) -> bytes | None:
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        return None
    dynamic = table.get("dynamic", ())
    moving = {"version", "dependencies", "optional-dependencies", "requires-python"}
    if not isinstance(table.get("version"), str) or moving.intersection(dynamic):
        return None
    lines = ["Metadata-Version: 2.2", f"Name: {table['name']}", f"Version: {table['version']}"]
    if isinstance(table.get("requires-python"), str):
        lines.append(f"Requires-Python: {table['requires-python']}")
    try:
        lines += [f"Requires-Dist: {Requirement(line)}" for line in table.get("dependencies", ())]
        for extra, requirements in table.get("optional-dependencies", {}).items():
            lines.append(f"Provides-Extra: {extra}")
            lines += [f"Requires-Dist: {_under_extra(line, extra)}" for line in requirements]
    except (InvalidRequirement, TypeError, AttributeError):
        return None
    return None if any("\n" in line for line in lines) else ("\n".join(lines) + "\n\n").encode()


def _under_extra(line: str, extra: str) -> str:
    requirement = Requirement(line)
    marker = f"({requirement.marker}) and " if requirement.marker else ""
    requirement.marker = None
    separator = " " if requirement.url else ""
    return f'{requirement}{separator}; {marker}extra == "{extra}"'

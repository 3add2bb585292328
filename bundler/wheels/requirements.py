"""What a source says of its own build: [build-system] of pyproject.toml (PEP 518, PEP 517)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli
from packaging.requirements import InvalidRequirement, Requirement

from bundler.errors import Problem, WheelBuildFailed
from bundler.wheels.sdist import is_inside

#: Where pyproject.toml has no [build-system] (PEP 517, "source trees"); wheel, because old setuptools needs it.
DEFAULT_REQUIRES = ("setuptools>=40.8.0", "wheel")
DEFAULT_BACKEND = "setuptools.build_meta:__legacy__"
_LARGEST = 4 << 20


@dataclass(frozen=True, kw_only=True)
class BuildSystem:
    """The table [build-system] of pyproject.toml, with the defaults filled in."""

    requires: tuple[str, ...] = DEFAULT_REQUIRES
    backend: str = DEFAULT_BACKEND
    backend_path: tuple[str, ...] = ()


def static_requires(project: Path) -> tuple[str, ...]:
    """Return the build requirements that the source in ``project`` declares.

    Raises:
        WheelBuildFailed: pyproject.toml is wrong; all of it is reported.
    """
    return read_build_system(project).requires


def read_pyproject(project: Path) -> dict[str, Any]:
    """Return pyproject.toml of the source in ``project``, empty where there is none.

    Raises:
        WheelBuildFailed: It does not parse.
    """
    path = project / "pyproject.toml"
    if not path.is_file():
        return {}
    if path.stat().st_size > _LARGEST or not is_inside(path, project):
        raise WheelBuildFailed(f"{project.name}/pyproject.toml is too large or leads elsewhere", hint="correct it")
    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WheelBuildFailed(
            f"{project.name}/pyproject.toml does not parse: {error}", hint="choose another version of the package"
        ) from error


def read_build_system(project: Path) -> BuildSystem:
    """Return [build-system] of the source in ``project`` (PEP 518, PEP 517).

    Raises:
        WheelBuildFailed: The table is wrong; all of it is reported.
    """
    table = read_pyproject(project).get("build-system")
    if table is None:
        return BuildSystem()
    where = f"{project.name}/pyproject.toml"
    if not isinstance(table, dict):
        raise WheelBuildFailed(f"{where}: build-system is no table", hint="choose another version of the package")
    problems = [*_bad_strings(where, table, "requires"), *_bad_strings(where, table, "backend-path")]
    if not isinstance(table.get("build-backend", ""), str):
        problems.append(Problem(where=f"{where}: build-system.build-backend", what="is no string"))
    if "requires" not in table:
        problems.append(Problem(where=f"{where}: build-system", what="has no requires"))
    if not problems:
        problems = _bad_requirements(where, table["requires"])
    if problems:
        raise WheelBuildFailed(f"{where} cannot be built from", problems=problems)
    return BuildSystem(
        requires=tuple(table["requires"]),
        backend=table.get("build-backend") or DEFAULT_BACKEND,
        backend_path=tuple(table.get("backend-path", ())),
    )


def _bad_strings(where: str, table: dict[str, Any], key: str) -> list[Problem]:
    value = table.get(key, [])
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return []
    return [Problem(where=f"{where}: build-system.{key}", what="is no list of strings")]


def _bad_requirements(where: str, lines: list[str]) -> list[Problem]:
    faults = ((f"{where}: build-system.requires[{number}]", _fault(line)) for number, line in enumerate(lines))
    return [Problem(where=place, what=fault) for place, fault in faults if fault]


def _fault(line: str) -> str:
    try:
        Requirement(line)
    except InvalidRequirement as error:
        return f"{line!r}: {error}"
    return ""

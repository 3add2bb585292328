"""From what the runner saw to the checks of a report. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

from bundler.model.manifest import Smoke
from bundler.venvs.proof_report import Check


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the results are about: a venv meant for ``install_path`` that was tried ``at`` some path."""

    at: str
    install_path: str
    smoke: tuple[Smoke, ...]
    versions: Mapping[str, str]


def unusable(smoke: Smoke) -> list[Check]:
    """Return what keeps the smoke command from being run at all."""
    error = ""
    try:
        if not shlex.split(smoke.run):
            error = "the command line is empty"
    except ValueError as caught:
        error = f"the command line does not parse: {caught}"
    return [Check(kind="smoke", package="", group="smoke", name=smoke.run, error=error)] if error else []


def checks_of(result: Mapping[str, Any], seen: Seen) -> Iterator[Check]:
    """Yield the facts of one of the runner's results, with the install path in place of where the venv was."""
    texts = {key: str(result[key]).replace(seen.at, seen.install_path) for key in ("error", "where", "output")}
    if result["kind"] == "dependency":
        yield from dependency_checks(texts["error"], texts["output"])
        return
    error, name = texts["error"], result["name"]
    if result["kind"] == "smoke":
        smoke = seen.smoke[int(name)]
        name, error = smoke.run, smoke_error(smoke, error, texts["output"], seen.versions)
    yield Check(
        kind=result["kind"],
        package=result["package"],
        group=result["group"],
        name=name,
        error=error,
        where=texts["where"].removeprefix(seen.install_path + "/"),
        missing=result["missing"],
    )


def smoke_error(smoke: Smoke, error: str, output: str, versions: Mapping[str, str]) -> str:
    """Return what is wrong with a smoke command's outcome, or nothing."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = f": {lines[-1][:200]}" if lines else ""
    if error:
        return f"{error}{last}"
    try:
        expected = fill(smoke.expect, versions)
        found = re.search(expected, output, re.MULTILINE)
    except KeyError as caught:
        return f"expect names package {caught.args[0]}, which the venv does not have"
    except re.error as caught:
        return f"expect is no regular expression: {caught}"
    return "" if found else f"its output has no {expected!r}{last}"


def fill(expect: str, versions: Mapping[str, str]) -> str:
    """Return ``expect`` with each ``{version[name]}`` replaced by that package's version, taken literally.

    Raises:
        KeyError: The venv has no package of that name.
    """
    return re.sub(r"\{version\[([^\]]+)\]\}", lambda match: re.escape(versions[canonicalize_name(match[1])]), expect)


#: Forms of pip check's lines; the last group is the requirement's name.
_PIP_CHECK = (
    re.compile(r"(?P<package>\S+) \S+ requires (?P<name>[A-Za-z0-9._-]+),? which is not installed"),
    re.compile(r"(?P<package>\S+) \S+ has requirement (?P<name>[A-Za-z0-9._-]+)"),
    re.compile(r"(?P<package>(?P<name>\S+)) \S+ is not supported on this platform"),
)


def dependency_checks(error: str, output: str) -> Iterator[Check]:
    """Yield the outcome of pip check: one check where it is clean, else one for each line that names a fault."""
    if not error:
        yield Check(kind="dependency", package="", group="pip-check", name="all")
        return
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    found = {line: match for line in lines for match in [_match(line)] if match}
    for line, match in found.items():
        missing = match["name"] if "not installed" in line else ""
        yield Check(
            kind="dependency",
            package=canonicalize_name(match["package"]),
            group="pip-check",
            name=canonicalize_name(match["name"]),
            error=line,
            missing=missing,
        )
    if not found:
        last = f": {lines[-1]}" if lines else ""
        yield Check(kind="dependency", package="", group="pip-check", name="all", error=f"{error}{last}")


def _match(line: str) -> re.Match[str] | None:
    return next((match for pattern in _PIP_CHECK for match in [pattern.match(line)] if match), None)

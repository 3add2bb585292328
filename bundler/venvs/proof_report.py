"""The outcome of a venv's proof: deterministic facts only, and what of them is accepted. Pure.

No timings, no paths of the build host and no addresses: the report is part of the signed evidence.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from packaging.utils import canonicalize_name

from bundler.errors import FormatError, Problem
from bundler.model.contents import ProofEntry, ProofLevel
from bundler.model.manifest import AllowedFailure

#: ``script``: a console or GUI script's target loads. ``dependency``: pip check. ``smoke``: a command works.
#: ``module``: a system package's module can be imported. ``library``: compiled files find a shared library.
#: ``entry-point``: others; reported, never a failure.
Kind: TypeAlias = Literal["script", "dependency", "smoke", "module", "library", "entry-point"]

#: How rules begin that accept a missing library; what is missing is known before the proof.
LIBRARY = "library:"
_ORDER: dict[str, int] = {"script": 0, "dependency": 1, "smoke": 2, "module": 3, "library": 4, "entry-point": 5}
#: Modules whose distribution has another name, or left it: what to write into the manifest.
_PROVIDERS = {
    "pkg_resources": "setuptools<82",
    "yaml": "pyyaml",
    "memcache": "python-memcached",
    "MySQLdb": "mysqlclient",
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was tried. ``error`` is empty where it went well; ``accepted`` is the reason of an allow.

    ``where`` is the innermost line of our or foreign code, relative to the venv; ``missing`` a module's name.
    """

    kind: Kind
    package: str
    group: str
    name: str
    error: str = ""
    where: str = ""
    missing: str = ""
    accepted: str = ""

    @property
    def failed(self) -> bool:
        """Return whether this stands against the venv."""
        return bool(self.error) and not self.accepted and self.kind != "entry-point"

    @property
    def key(self) -> tuple[object, ...]:
        """Return the place in a report."""
        return (_ORDER[self.kind], self.package, self.group, self.name, self.error)


@dataclass(frozen=True, kw_only=True)
class ProofReport:
    """The proof of one venv on one target; ``archive`` is the SHA-256 of the venv archive that was proved."""

    venv: str
    target: str
    level: ProofLevel
    python: str
    install_path: str
    archive: str
    unisolated: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def failures(self) -> tuple[Check, ...]:
        """Return the checks that stand against the venv."""
        return tuple(check for check in self.checks if check.failed)

    @property
    def passed(self) -> bool:
        """Return whether the venv was proved and nothing stands against it."""
        return self.level != "none" and not self.failures

    @property
    def entry(self) -> ProofEntry:
        """Return the summary for ``bundle.json``."""
        return ProofEntry(
            level=self.level,
            passed=self.passed,
            checks=sum(check.kind != "entry-point" for check in self.checks),
            allowed=sum(bool(check.accepted) for check in self.checks),
            unisolated=self.unisolated,
        )

    def to_json(self) -> bytes:
        """Return the canonical JSON form; fields of a check that are empty are left out."""
        data = dataclasses.asdict(self)
        data["checks"] = [{key: value for key, value in check.items() if value} for check in data["checks"]]
        return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> ProofReport:
        """Read what :meth:`to_json` wrote.

        Raises:
            FormatError: It is no proof report.
        """
        try:
            return cls.from_data(json.loads(data))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FormatError(f"the proof report does not parse: {error}", hint="build the bundle again") from error

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> ProofReport:
        """Return the report of a decoded JSON object; its mistakes raise TypeError, KeyError or ValueError."""
        checks = tuple(Check(**{"package": "", "group": "", "name": "", **check}) for check in data.get("checks", ()))
        unknown = [check.kind for check in checks if check.kind not in _ORDER]
        if unknown:
            raise ValueError(f"unknown kind of check {unknown[0]!r}")
        return cls(**{**data, "checks": checks, "unisolated": tuple(data.get("unisolated", ()))})


def accept(report: ProofReport, allow: Iterable[AllowedFailure]) -> ProofReport:
    """Return ``report`` with the failures that ``allow`` covers marked by the reason of the first that does."""
    return dataclasses.replace(report, checks=accept_checks(report.checks, allow))


def with_checks(report: ProofReport, checks: Iterable[Check]) -> ProofReport:
    """Return ``report`` with further checks."""
    return dataclasses.replace(report, checks=tuple(sorted((*report.checks, *checks), key=lambda one: one.key)))


def accept_checks(checks: Iterable[Check], allow: Iterable[AllowedFailure]) -> tuple[Check, ...]:
    """Return ``checks`` with the failures that ``allow`` covers marked by the reason of the first that does."""
    rules = tuple(allow)
    found = []
    for check in checks:
        rule = next((rule for rule in rules if check.error and covers(rule, check)), None)
        found.append(dataclasses.replace(check, accepted=rule.reason) if rule else check)
    return tuple(found)


def covers(rule: AllowedFailure, check: Check) -> bool:
    """Return whether ``rule`` names ``check``.

    A bare pattern names entry points; the rest needs its group: ``pip-check:numpy``, ``system-packages:libvirt``,
    ``library:libtbb.so.12``. Smoke commands are never accepted: their line is simply removed.
    """
    if check.kind == "smoke":
        return False
    if rule.package and canonicalize_name(rule.package) != canonicalize_name(check.package):
        return False
    if check.kind in ("dependency", "module", "library") and not rule.entry_point.startswith(f"{check.group}:"):
        return False
    return any(_like(name, rule.entry_point) for name in (check.name, f"{check.group}:{check.name}"))


def _like(name: str, pattern: str) -> bool:
    """Match with ``*`` as the only wildcard."""
    literal = pattern.replace("[", "[[]").replace("?", "[?]")
    return fnmatch.fnmatchcase(name, literal)


def unused(allow: Iterable[AllowedFailure], reports: Iterable[ProofReport]) -> tuple[AllowedFailure, ...]:
    """Return the rules that cover no failure of any report; those for libraries are not the proof's."""
    failed = [check for report in reports for check in report.checks if check.error]
    rules = [rule for rule in dict.fromkeys(allow) if not rule.entry_point.startswith(LIBRARY)]
    return tuple(rule for rule in rules if not any(covers(rule, check) for check in failed))


def problems_of(report: ProofReport) -> tuple[Problem, ...]:
    """Return what stands against the venv, each with what to do about it."""
    where = f"{report.venv} on {report.target}"
    return tuple(Problem(where=where, what=_what(check), hint=_hint(check)) for check in report.failures)


def _what(check: Check) -> str:
    at = f" ({check.where})" if check.where else ""
    if check.kind == "script":
        return f"{check.package}: {check.group} {check.name}: {check.error}{at}"
    if check.kind == "dependency":
        return f"pip check: {check.error}"
    if check.kind == "smoke":
        return f"smoke command {check.name!r}: {check.error}"
    return f"module {check.name} of a system package: {check.error}{at}"


def _hint(check: Check) -> str:
    if check.kind == "smoke":
        return "correct the venv's packages or the smoke command"
    if check.kind == "dependency" and check.missing:
        return f"add {check.missing} to the venv, or {_allow(check)}"
    if check.missing:
        top = check.missing.partition(".")[0]
        return f"add the package that has {top} ({_PROVIDERS.get(top, canonicalize_name(top))}?), or {_allow(check)}"
    return f"correct the constraints, or {_allow(check)}"


def _allow(check: Check) -> str:
    name = check.name if check.kind == "script" else f"{check.group}:{check.name}"
    return f"accept it in proof.allow with a reason: entry_point: {name}"

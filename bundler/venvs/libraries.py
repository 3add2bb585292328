"""Whether every compiled file of a venv finds its libraries on a host that has only what the manifest says.

A host has the base system, what the venv names in ``distro_packages.runtime`` (and symlinks in), and what these
depend on. What a compiler run used beyond that is found here, by its package's name, and not at the site. Nothing is
run, so a target of another architecture is no different.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bundler.archive.elf import Elf
from bundler.clock import stopwatch
from bundler.errors import LibraryMissing, Problem
from bundler.events import Emit, StageAdvanced, StageFinished, StageStarted, Warned, ignore
from bundler.model.manifest import AllowedFailure
from bundler.model.target import Target
from bundler.model.wheel import Wheel
from bundler.store.cas import Store
from bundler.venvs.layer_tree import SITE
from bundler.venvs.loader import Failure, Loader, Loading
from bundler.venvs.proof_report import LIBRARY, Check, accept_checks
from bundler.venvs.system_libraries import Binary, SystemLibraries
from bundler.venvs.wheel_binaries import wheel_binaries

STAGE = "libraries"


@dataclass(frozen=True, kw_only=True)
class LibraryRequest:
    """A venv whose ``wheels`` are in the store, and the roots of two systems of its target.

    ``root`` is a system that has at least ``host_packages``, the distro packages that a service host must have for
    this venv; it may have more. ``build_root`` is where its wheels were compiled.
    """

    venv: str
    target: Target
    install_path: str
    wheels: tuple[Wheel, ...]
    root: Path = Path("/")
    build_root: Path | None = None
    host_packages: tuple[str, ...] = ()
    allow: tuple[AllowedFailure, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LibraryReport:
    """What a venv takes from its system: ``packages`` beyond the base, by name; ``checks`` are accepted failures."""

    venv: str
    target: str
    packages: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Lack:
    """One library that files of one wheel cannot have."""

    failure: Failure
    check: Check


def check_libraries(
    requests: Sequence[LibraryRequest], store: Store, emit: Emit = ignore
) -> tuple[LibraryReport, ...]:
    """Return what each venv takes from its system, in the order of ``requests``.

    Raises:
        LibraryMissing: Venvs need what their hosts will not have; ``problems`` has all of all venvs.
    """
    began = stopwatch()
    emit(StageStarted(stage=STAGE, total=len(requests)))
    seen = _Seen(store)
    reports: list[LibraryReport] = []
    problems: list[Problem] = []
    for request in requests:
        report, found = _Venv(request, seen).check()
        reports.append(report)
        problems += found
        emit(StageAdvanced(stage=STAGE))
    if problems:
        venvs = len({problem.where.partition(":")[0] for problem in problems})
        raise LibraryMissing(
            f"{venvs} of {len(requests)} venvs need libraries that their hosts will not have",
            hint="nothing was written; name the packages in the manifest, so that the site can install them",
            problems=sorted(problems, key=str),
        )
    _warn_of_unused(requests, reports, emit)
    emit(StageFinished(stage=STAGE, seconds=stopwatch() - began, items=len(requests)))
    return tuple(reports)


def _warn_of_unused(requests: Iterable[LibraryRequest], reports: Iterable[LibraryReport], emit: Emit) -> None:
    rules = [rule for request in requests for rule in request.allow if rule.entry_point.startswith(LIBRARY)]
    checks = [replace(check, accepted="") for report in reports for check in report.checks]
    for rule in dict.fromkeys(rules):
        if not any(check.accepted for check in accept_checks(checks, [rule])):
            emit(
                Warned(
                    message=f"proof.allow: {rule.entry_point} covers no missing library",
                    hint="remove it: a later failure would hide",
                )
            )


class _Seen:
    """The systems and wheels of a run, each looked at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._systems: dict[tuple[Path, str], SystemLibraries] = {}
        self._wheels: dict[tuple[str, str], dict[str, Elf]] = {}

    def system(self, root: Path, target: Target) -> SystemLibraries:
        """Return the libraries below ``root``."""
        key = (root, target.arch)
        if key not in self._systems:
            self._systems[key] = SystemLibraries(*key)
        return self._systems[key]

    def wheel(self, wheel: Wheel) -> dict[str, Elf]:
        """Return the ELF files of a wheel."""
        key = (wheel.digest, wheel.name)
        if key not in self._wheels:
            self._wheels[key] = wheel_binaries(wheel, self._store)
        return self._wheels[key]


class _Venv:
    """One venv on one target."""

    def __init__(self, request: LibraryRequest, seen: _Seen) -> None:
        self._request = request
        target = request.target
        self._system = seen.system(request.root, target)
        self._build = None if request.build_root is None else seen.system(request.build_root, target)
        self._wheels = {wheel.name: wheel for wheel in request.wheels}
        dpkg = self._system.dpkg
        self._base = dpkg.base(f"python{target.python.version}") if dpkg else frozenset()
        self._loader = Loader(
            install_path=request.install_path,
            inside=dict(self._binaries(seen)),
            system=self._system,
            allowed=self._base | dpkg.closure(request.host_packages) if dpkg else None,
        )

    def _binaries(self, seen: _Seen) -> Iterator[tuple[str, Binary]]:
        """Yield the ELF files that are for the target's machine; others are payload."""
        for wheel in self._request.wheels:
            for place, elf in seen.wheel(wheel).items():
                if elf.machine == self._request.target.arch:
                    path = f"{self._request.install_path.rstrip('/')}/{place}"
                    yield path, Binary(path=path, elf=elf, wheel=wheel.name)

    def check(self) -> tuple[LibraryReport, list[Problem]]:
        """Return what the venv takes from the system, and what is wrong."""
        loadings = self._load_all()
        lacks = self._lacks(failure for one in loadings for failure in one.failures)
        checks = accept_checks([lack.check for lack in lacks], self._request.allow)
        used = {package for one in loadings for binary in one.loaded.values() for package in binary.packages}
        report = LibraryReport(
            venv=self._request.venv,
            target=self._request.target.name,
            packages=tuple(sorted({package.name for package in used - self._base})),
            checks=tuple(check for check in checks if check.accepted),
        )
        return report, [self._problem(lack) for lack, check in zip(lacks, checks, strict=True) if check.failed]

    def _load_all(self) -> list[Loading]:
        """Load every file of the venv, each in the context in which it is loaded: by another, or on its own."""
        alone = {path: self._loader.load(binary) for path, binary in sorted(self._loader.inside.items())}
        by_others = {path for first, one in alone.items() for path in one.loaded if path != first}
        chosen = [one for first, one in alone.items() if first not in by_others]
        reached = {path for one in chosen for path in one.loaded}
        for first, one in alone.items():  # those left over load each other in a circle
            if first not in reached:
                chosen.append(one)
                reached |= one.loaded.keys()
        return chosen

    def _lacks(self, failures: Iterable[Failure]) -> list[_Lack]:
        """Return the failures, one for each wheel and library."""
        grouped: dict[tuple[str, str, tuple[str, ...], str], dict[str, Failure]] = defaultdict(dict)
        for failure in failures:
            blamed = failure.binary if failure.binary.wheel else failure.first
            through = failure.binary.path if blamed is not failure.binary else ""
            grouped[blamed.wheel, failure.name, failure.versions, through][self._label(blamed.path)] = failure
        return [
            self._lack(wheel, through, dict(sorted(files.items())))
            for (wheel, _, _, through), files in sorted(grouped.items())
        ]

    def _lack(self, wheel: str, through: str, files: dict[str, Failure]) -> _Lack:
        first, failure = next(iter(files.items()))
        others = {1: "", 2: " and another file"}.get(len(files), f" and {len(files) - 1} other files")
        link = f", through {through}," if through else ""
        what = failure.name if not failure.versions else f"{', '.join(failure.versions)} of {failure.name}"
        error = f"{first}{others}{link} need{'' if others else 's'} {what}"
        check = Check(kind="library", package=wheel, group=LIBRARY[:-1], name=failure.name, error=error)
        return _Lack(failure=failure, check=check)

    def _label(self, path: str) -> str:
        inside = path.removeprefix(f"{self._request.install_path.rstrip('/')}/")
        return inside.removeprefix(f"{SITE}/")

    def _problem(self, lack: _Lack) -> Problem:
        target, wheel = self._request.target, self._wheels[lack.check.package]
        what, hint = self._advice(lack.failure)
        return Problem(
            where=f"venvs.{self._request.venv} on {target.name}: {wheel.name} {wheel.version}",
            what=f"{lack.check.error}{what}",
            hint=hint,
        )

    def _advice(self, failure: Failure) -> tuple[str, str]:
        """Return what is to be said of a failure, and what to do."""
        found, target = failure.found, self._request.target.name
        accept = f"accept it in proof.allow with a reason: entry_point: {LIBRARY}{failure.name}"
        if failure.versions and found is not None:
            owner = " ".join(f"{one.name} {one.version}" for one in found.packages) or self._label(found.path)
            own = f"give one that is compiled for {target} in a wheel folder"
            return f"; {owner} does not define that", f"choose a version whose wheel is for an older system, or {own}"
        supplied = found or self._supplied(failure.name)
        if supplied is not None and supplied.packages:
            return "", f"add {supplied.packages[0].name} to its distro_packages.runtime"
        if found is not None:
            return f"; {found.path} is there, but belongs to no package", f"put it into a package, or {accept}"
        return f"; neither the venv nor {target} has it", f"{self._missing()}, or {accept}"

    def _supplied(self, name: str) -> Binary | None:
        if self._build is None:
            return None
        return self._build.at(name) if "/" in name else self._build.find(name)

    def _missing(self) -> str:
        dpkg = self._system.dpkg
        absent = [name for name in self._request.host_packages if dpkg and not dpkg.find(name)]
        if absent:
            return f"install {' '.join(absent)} where it is proved"
        return "add the package that has it to distro_packages.runtime"

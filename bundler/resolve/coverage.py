"""The coverage matrix: which package has no wheel for which target, before anything is fetched. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from bundler.errors import Problem, ResolutionFailed
from bundler.model.lock import LockedPackage, VenvLock
from bundler.resolve.choose import Impossible

State: TypeAlias = Literal["wheel", "compile", "impossible"]


@dataclass(frozen=True, kw_only=True)
class CoverageRow:
    """One version of one package; ``states`` by target, ``reasons`` for the impossible ones."""

    name: str
    version: str
    states: Mapping[str, State]
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def covered(self) -> bool:
        """Return whether every target takes a wheel."""
        return set(self.states.values()) <= {"wheel"}


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Package by target, sorted by name and version."""

    targets: tuple[str, ...]
    rows: tuple[CoverageRow, ...]

    @property
    def open_rows(self) -> tuple[CoverageRow, ...]:
        """Return the rows that are not all wheels."""
        return tuple(row for row in self.rows if not row.covered)

    def count(self, target: str, state: State) -> int:
        """Return how many packages are in ``state`` on ``target``."""
        return sum(row.states.get(target) == state for row in self.rows)

    def problems(self) -> tuple[Problem, ...]:
        """Return one problem for each impossible cell."""
        return tuple(
            Problem(where=f"{row.name} {row.version} on {target}", what=reason)
            for row in self.rows
            for target, reason in sorted(row.reasons.items())
        )

    def require(self) -> None:
        """Raise where anything is impossible, naming all of it.

        Raises:
            ResolutionFailed: At least one package can be had on a target neither as a wheel nor as a source.
        """
        problems = self.problems()
        if problems:
            raise ResolutionFailed(
                f"{len(problems)} packages can be had for a target neither as a wheel nor as a source",
                hint="name an index or a wheel folder that has them, or constrain them to a version that has",
                problems=problems,
            )

    def to_data(self) -> list[dict[str, object]]:
        """Return the matrix as JSON values."""
        return [
            {"name": row.name, "version": row.version, "targets": dict(row.states), "reasons": dict(row.reasons)}
            for row in self.rows
        ]


def coverage(cells: Iterable[tuple[str, LockedPackage | Impossible]], targets: Sequence[str]) -> Coverage:
    """Return the matrix of ``cells``: target's name and what was chosen there."""
    states: dict[tuple[str, str], dict[str, State]] = {}
    reasons: dict[tuple[str, str], dict[str, str]] = {}
    for target, chosen in cells:
        key = (chosen.name, chosen.version)
        states.setdefault(key, {})[target] = _state(chosen)
        if isinstance(chosen, Impossible):
            reasons.setdefault(key, {})[target] = chosen.reason
    rows = (
        CoverageRow(
            name=name, version=version, states=states[name, version], reasons=reasons.get((name, version), {})
        )
        for name, version in sorted(states)
    )
    return Coverage(targets=tuple(targets), rows=tuple(rows))


def coverage_of(venvs: Iterable[VenvLock], targets: Sequence[str]) -> Coverage:
    """Return the matrix of what is locked."""
    return coverage(((venv.target, package) for venv in venvs for package in venv.packages), targets)


def table(matrix: Coverage) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of the packages that are not all wheels, then a line of counts."""
    columns = ["package", "version", *matrix.targets]
    rows = [
        [row.name, row.version, *(_cell(row.states.get(target)) for target in matrix.targets)]
        for row in matrix.open_rows
    ]
    counts = [f"{matrix.count(target, 'wheel')} wheels" for target in matrix.targets]
    return columns, [*rows, [f"{len(matrix.rows)} packages", "", *counts]]


def _cell(state: State | None) -> str:
    return {"wheel": "wheel", "compile": "must compile", "impossible": "IMPOSSIBLE", None: "-"}[state]


def _state(chosen: LockedPackage | Impossible) -> State:
    if isinstance(chosen, Impossible):
        return "impossible"
    return "compile" if chosen.must_build else "wheel"

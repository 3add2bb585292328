"""A conflict told in the words of the manifest: which chains want what, and which layer says so. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bundler.errors import Problem, ResolutionFailed
from bundler.model.constraint_lines import Entry
from bundler.model.constraints import Effective
from bundler.resolve.port import CONSTRAINT, REQUESTED

_LONGEST_CHAIN = 12
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A requirement of a venv, as the manifest states it."""

    venv: str
    text: str


def explain(
    error: ResolutionFailed, asked: Sequence[Asked], effective: Effective | None, what: str
) -> ResolutionFailed:
    """Return the failure with chains from venvs to what they want, and the constraints that stand against them."""
    edges = _folded(_attributed(edge, asked) for edge in error.problems if edge.where)
    told = [edge for edge in error.problems if not edge.where]
    names = {found for edge in edges if (found := _name(edge.what))} | _mentioned(told)
    problems = [
        *told,
        *_chains(edges, asked),
        *_constraints(names, effective),
        *(edge for edge in edges if edge.where == CONSTRAINT and not (effective and effective.of(_name(edge.what)))),
    ]
    return ResolutionFailed(
        f"{what}: {error.message}",
        hint=error.hint
        or "change a requirement, or put a constraint into a layer above the one that stands against it",
        problems=tuple(dict.fromkeys(problems)),
    )


def _attributed(edge: Problem, asked: Sequence[Asked]) -> Problem:
    """Return the edge; what a venv asks for in these very words is no constraint, though uv cannot tell."""
    requested = edge.where == CONSTRAINT and any(_same(one.text, edge.what) for one in asked)
    return replace(edge, where=REQUESTED) if requested else edge


def _folded(edges: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the edges, those of many versions of one package that want the same as one."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for edge in edges:
        groups.setdefault((_name(edge.where), edge.what), []).append(edge)
    return tuple(
        group[0] if len(group) == 1 else Problem(where=f"{name} ({len(group)} versions)", what=what)
        for (name, what), group in groups.items()
    )


def _chains(edges: Sequence[Problem], asked: Sequence[Asked]) -> list[Problem]:
    """Return one problem for every requirement that no other edge leads on from, with the way to it."""
    wanted_by: dict[str, list[Problem]] = {}
    for edge in edges:
        wanted_by.setdefault(_name(edge.what), []).append(edge)
    askers = {_name(edge.where) for edge in edges if edge.where not in (REQUESTED, CONSTRAINT)}
    found = []
    for edge in edges:
        leads_on = _name(edge.what) in askers
        if edge.where == CONSTRAINT or leads_on:
            continue
        for venvs, chain in _ways(edge, wanted_by, asked, ()):
            found.append(Problem(where=venvs, what=f"wants {edge.what}" + (f" through {chain}" if chain else "")))
    return found


def _ways(
    edge: Problem, wanted_by: Mapping[str, Sequence[Problem]], asked: Sequence[Asked], seen: tuple[str, ...]
) -> Iterable[tuple[str, str]]:
    if edge.where == REQUESTED:
        yield _venvs(edge.what, asked), " → ".join(reversed(seen))
        return
    asker = _name(edge.where)
    before = [one for one in wanted_by.get(asker, ()) if one.where != CONSTRAINT]
    if not before or len(seen) > _LONGEST_CHAIN or edge.where in seen:
        direct = [one for one in asked if _name(one.text) == asker]
        if direct:
            yield _venvs(direct[0].text, asked), " → ".join(reversed((*seen, edge.where)))
        else:
            yield edge.where, " → ".join(reversed(seen))
        return
    for one in before:
        yield from _ways(one, wanted_by, asked, (*seen, edge.where))


def _venvs(requirement: str, asked: Sequence[Asked]) -> str:
    """Return the venvs that ask for what ``requirement`` names: exactly so, else the same package."""
    exact = [one.venv for one in asked if _same(one.text, requirement)]
    name = _name(requirement)
    loose = [one.venv for one in asked if _name(one.text) == name]
    venvs = dict.fromkeys(exact or loose)
    return "venv " + ", ".join(venvs) if venvs else "the venvs"


def _constraints(names: Iterable[str], effective: Effective | None) -> list[Problem]:
    if effective is None:
        return []
    found: list[Problem] = []
    for name in sorted(names):
        found += (_stands_against(entry) for entry in effective.of(name))
        found += (
            Problem(where=lost.loser_where, what=f"says {lost.loser}, which lost to {lost.winner_where}")
            for lost in effective.shadowed
            if lost.name == name
        )
    return found


def _stands_against(entry: Entry) -> Problem:
    return Problem(where=f"constraint layer {entry.place}", what=f"says {entry.requirement}")


def _mentioned(told: Iterable[Problem]) -> set[str]:
    words = (problem.what.split() for problem in told)
    return {name for line in words for name in (_name(line[0]), _name(line[-1])) if name}


def _same(left: str, right: str) -> bool:
    try:
        one, other = Requirement(left), Requirement(right)
    except InvalidRequirement:
        return left == right
    return canonicalize_name(one.name) == canonicalize_name(other.name) and one.specifier == other.specifier


def _name(text: str) -> str:
    match = _NAME.match(text)
    return str(canonicalize_name(match[0])) if match else ""

"""Which release each host goes back to, and whether it may. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bundler.errors import BundleRevoked, HostRefused, Problem, SequenceRefused, UsageError
from bundler.repohost.port import HostFacts, HostRelease


@dataclass(frozen=True, kw_only=True)
class GoBack:
    """A line goes back to release ``to`` on ``hosts``; on the others it is served already."""

    line: str
    to: HostRelease
    hosts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What may not be served again: sequences below the floor of a line, bundles by digest."""

    floors: Mapping[str, int]
    revoked: frozenset[str]


def choose_line(facts: Mapping[str, HostFacts], line: str) -> str:
    """Return ``line``, or the only one that the hosts serve.

    Raises:
        UsageError: It is not served, or several are and none was named.
    """
    served = sorted({one.line for found in facts.values() for one in found.releases if one.state == "active"})
    if line and line not in served:
        raise UsageError(f"no host serves {line!r}", hint=f"served are: {', '.join(served) or 'none'}")
    if not line and len(served) != 1:
        raise UsageError(
            "say which line is to go back" if served else "no host serves anything",
            hint=f"served are: {', '.join(served) or 'none'}",
        )
    return line or served[0]


def plan_back(facts: Mapping[str, HostFacts], line: str, bounds: Bounds) -> GoBack:
    """Return how all hosts come to serve the release before the newest that any of them serves.

    So a run that was cut can be repeated: hosts that are back already stay as they are.

    Raises:
        SequenceRefused, BundleRevoked: That release is below the floor, or revoked.
        HostRefused: A host has not got it, or there is nothing older; no host was touched.
    """
    serving = {name: _find(found, line, "active") for name, found in facts.items()}
    newest = max((one for one in serving.values() if one), key=lambda one: one.sequence)
    older = [
        one
        for name, found in facts.items()
        if serving[name] == newest and (one := _find(found, line, "previous")) and one.sequence < newest.sequence
    ]
    if not older:
        raise HostRefused(
            f"there is no older release of {line} to go back to: {newest.id} is active",
            hint="to go forward again, apply the newer bundle: what is there is not sent again",
        )
    to = max(older, key=lambda one: one.sequence)
    _allow(to, bounds)
    problems = list(_problems(facts, serving, to))
    if problems:
        raise HostRefused(f"not every host can go back to {to.id}", hint="no host was touched", problems=problems)
    hosts = tuple(name for name, one in serving.items() if one and one.id != to.id)
    return GoBack(line=line, to=to, hosts=hosts)


def _find(facts: HostFacts, line: str, state: str) -> HostRelease | None:
    return next((one for one in facts.releases if one.line == line and one.state == state), None)


def _allow(to: HostRelease, bounds: Bounds) -> None:
    floor = bounds.floors.get(to.line, 0)
    if to.sequence < floor:
        raise SequenceRefused(
            f"{to.id} is older than sequence {floor}, which this site asks for at least",
            hint="a floor never sinks: it shuts out releases with a known fault",
        )
    if to.digest in bounds.revoked:
        raise BundleRevoked(f"{to.id} was revoked", hint="apply a newer bundle")


def _problems(
    facts: Mapping[str, HostFacts], serving: Mapping[str, HostRelease | None], to: HostRelease
) -> Iterator[Problem]:
    for name, active in serving.items():
        if active is None or active.id == to.id:
            continue
        previous = _find(facts[name], to.line, "previous")
        if previous is None or previous.id != to.id:
            found = previous.id if previous else "nothing"
            yield Problem(where=name, what=f"its previous release is {found}, not {to.id}", hint="use --host")

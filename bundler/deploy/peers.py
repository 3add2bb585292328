"""Which repo hosts serve another release of a line than their peers do. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from bundler.model.site import RepoHost
from bundler.repohost.port import HostFacts


@dataclass(frozen=True, kw_only=True)
class Astray:
    """A host that serves ``active`` (empty: nothing) of ``line``, and what its peers serve: how many, which."""

    line: str
    active: str
    peers: tuple[tuple[str, int], ...]


def astray(hosts: Iterable[tuple[RepoHost, HostFacts]]) -> dict[str, tuple[Astray, ...]]:
    """Return host → lines of which it serves something else than most hosts with the same targets.

    Where no release is served by more hosts than any other, nobody can say who is wrong: all are named.
    """
    found: dict[str, tuple[Astray, ...]] = {}
    for line, served in _groups(hosts):
        counts = Counter(served.values()).most_common()
        if len(counts) < 2:  # noqa: PLR2004 — all of them agree
            continue
        (norm, most), (_, second) = counts[:2]
        for host, active in served.items():
            if active != norm or most == second:
                others = Counter(release for name, release in served.items() if name != host)
                peers = tuple(sorted(others.items(), key=lambda one: (-one[1], one[0])))
                found[host] = (*found.get(host, ()), Astray(line=line, active=active, peers=peers))
    return found


def _groups(hosts: Iterable[tuple[RepoHost, HostFacts]]) -> list[tuple[str, dict[str, str]]]:
    """Return each line with what every host serves of it that has the same targets as others; "": nothing."""
    groups: dict[frozenset[str], list[tuple[str, HostFacts]]] = defaultdict(list)
    for host, facts in hosts:
        groups[frozenset(host.targets)].append((host.name, facts))
    return [
        (line, {name: _serves(facts, line) for name, facts in members})
        for members in groups.values()
        for line in sorted({one.line for _, facts in members for one in facts.releases if one.state == "active"})
    ]


def _serves(facts: HostFacts, line: str) -> str:
    return next((one.id for one in facts.releases if (one.line, one.state) == (line, "active")), "")

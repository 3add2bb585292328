"""Where a package is and, where it is not, why. Pure: worked out from ``bundle.json`` of applied releases."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bundler.model.contents import SEEDS, Contents, PackageEntry
from bundler.repohost.port import HostFacts, HostRelease


@dataclass(frozen=True, kw_only=True)
class Use:
    """A package in one venv on one target of one release, or carried there beside the venvs."""

    release: str
    venv: str
    target: str
    package: PackageEntry


@dataclass(frozen=True, kw_only=True)
class Presence:
    """One host: the releases that it serves with the package, or the reasons why there is none."""

    host: str
    serves: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def canonical(name: str) -> str:
    """Return a package's name as packages are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def uses_of(package: str, contents: Iterable[Contents]) -> tuple[Use, ...]:
    """Return every use of ``package``, newest release first."""
    wanted = canonical(package)
    newest = sorted(contents, key=lambda one: one.sequence, reverse=True)
    return tuple(
        Use(release=one.id, venv=venv, target=target, package=entry)
        for one in newest
        for venv, target, packages in _places(one)
        for entry in packages
        if canonical(entry.name) == wanted
    )


def _places(contents: Contents) -> Iterator[tuple[str, str, tuple[PackageEntry, ...]]]:
    """Yield venv, target and packages of all that a release has."""
    yield from ((venv.name, venv.target, venv.packages) for venv in contents.venvs)
    yield from ((SEEDS, seed.target, seed.packages) for seed in contents.seeds)


def near_names(package: str, contents: Iterable[Contents]) -> tuple[str, ...]:
    """Return names of packages that look alike."""
    known = {entry.name for one in contents for _, _, packages in _places(one) for entry in packages}
    return tuple(difflib.get_close_matches(canonical(package), sorted(known), n=3))


def presence(
    host: str, facts: HostFacts, uses: Sequence[Use], contents: Mapping[str, Contents], venv: str = ""
) -> Presence:
    """Return whether a host serves a package (in ``venv``, where one is named), and why if it does not."""
    active = [one for one in facts.releases if one.state == "active"]
    serves = tuple(one.id for one in active if any(_fits(use, one, venv) for use in uses))
    if serves:
        return Presence(host=host, serves=serves)
    if not active:
        return Presence(host=host, reasons=("it serves no release at all", *_elsewhere(facts, uses, venv)))
    reasons = [reason for one in active for reason in _lacks(one, uses, contents, venv)]
    return Presence(host=host, reasons=(*reasons, *_elsewhere(facts, uses, venv)))


def _fits(use: Use, release: HostRelease, venv: str) -> bool:
    return use.release == release.id and use.target in release.targets and venv in {"", use.venv}


def _lacks(release: HostRelease, uses: Sequence[Use], contents: Mapping[str, Contents], venv: str) -> Iterator[str]:
    """Yield why an active release does not bring the package to its host."""
    if release.id not in contents:
        yield f"it serves {release.id}, which this site has not applied: what is in it is not known here"
        return
    mine = [use for use in uses if use.release == release.id]
    here = [use for use in mine if use.target in release.targets]
    if not mine:
        yield f"it serves {release.id}, and that has it in no venv"
    elif not here:
        targets = ", ".join(sorted({use.target for use in mine}))
        yield f"{release.id} has it for {targets}, the host holds {', '.join(release.targets)}"
    elif venv:
        yield f"in {release.id} it is in {', '.join(sorted({use.venv for use in here}))}, not in {venv}"


def _elsewhere(facts: HostFacts, uses: Sequence[Use], venv: str) -> Iterator[str]:
    """Yield where else the package is: releases that the host has and does not serve, or has not got."""
    there = {one.id: one for one in facts.releases}
    for name in dict.fromkeys(use.release for use in uses):
        release = there.get(name)
        if release is None:
            yield f"{name} has it, and has not come to this host"
        elif release.state != "active" and any(_fits(use, release, venv) for use in uses):
            how = "is there, proved and not activated" if release.state == "staged" else "was active before"
            yield f"{name} has it; that {how}"

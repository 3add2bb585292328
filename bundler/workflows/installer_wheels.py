"""The wheels that `bundle-install` carries: of locked versions, chosen for each platform, each fetched once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag

from bundler.errors import EnvironmentProblem
from bundler.model.constraint_lines import logical_lines
from bundler.model.index import IndexConfig
from bundler.model.lock import Artifact
from bundler.model.requirement import Requested, parse_requirement
from bundler.model.target import Target
from bundler.resolve.choose import best_wheel
from bundler.resolve.port import ResolveRequest
from bundler.resolve.uv import UvResolver
from bundler.sources.fetch import fetch_all
from bundler.sources.http import HttpClient
from bundler.store.cas import Store

_HASH = "--hash=sha256:"
_STABLE_ABIS = frozenset(f"cp3{minor}" for minor in range(2, 11))


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """A line of a requirements file with hashes: what it asks for, and which files count for it."""

    requirement: Requested
    digests: frozenset[str]

    @property
    def name(self) -> str:
        """Return the normalised name."""
        return self.requirement.name

    def applies_to(self, target: Target) -> bool:
        """Return whether the line's marker holds for ``target``."""
        return self.requirement.applies(target.markers)


def carried_tags(target: Target) -> tuple[Tag, ...]:
    """Return the target's tags without the stable ABIs of newer Pythons: one wheel of a package serves them all."""
    return tuple(tag for tag in target.tags if tag.abi != "abi3" or tag.interpreter in _STABLE_ABIS)


def read_pins(text: str) -> Iterator[Pinned]:
    """Yield the lines of a requirements file as `pip hash` and `uv pip compile --generate-hashes` write it."""
    for _, line in logical_lines(text):
        words = line.split()
        asked = " ".join(word for word in words if not word.startswith(_HASH))
        digests = frozenset(word.removeprefix(_HASH) for word in words if word.startswith(_HASH))
        yield Pinned(requirement=parse_requirement(asked), digests=digests)


def fetch_wheels(
    pins: Sequence[Pinned], targets: Sequence[Target], indexes: IndexConfig, store: Store
) -> set[Artifact]:
    """Bring every wheel that one of ``targets`` needs into the store, and return them.

    Raises:
        EnvironmentProblem: The index has no such version, or no wheel of it for a target with a hash that counts.
        FetchFailed: A wheel cannot be had.
        DigestMismatch: A wheel is not what the index said.
    """
    chosen = _chosen(pins, targets, _offered(pins, targets, indexes))
    with HttpClient(indexes) as client:
        fetch_all(chosen, store, client)
    return chosen


def _offered(pins: Sequence[Pinned], targets: Sequence[Target], indexes: IndexConfig) -> dict[str, Artifact]:
    """Return the wheels of all pinned versions by their digests."""
    request = ResolveRequest(
        requirements=tuple(pin.requirement.to_pep508() for pin in pins), targets=tuple(targets), indexes=indexes
    )
    return {wheel.sha256: wheel for one in UvResolver().resolve(request).packages for wheel in one.wheels}


def _chosen(pins: Sequence[Pinned], targets: Sequence[Target], offered: dict[str, Artifact]) -> set[Artifact]:
    chosen, lacking = set(), []
    for pin in pins:
        wheels = [offered[digest] for digest in pin.digests & offered.keys()]
        for target in targets:
            if not pin.applies_to(target):
                continue
            wheel = best_wheel(wheels, carried_tags(target))
            if wheel is None:
                lacking.append(f"{pin.requirement.to_pep508()} for Python {target.python.version} on {target.arch}")
            else:
                chosen.add(wheel)
    if lacking:
        raise EnvironmentProblem(
            f"the index has no wheel of {lacking[0]} with a hash that bundle-install was locked with",
            hint=f"{len(lacking)} are missing in all; a mirror may be out of step with its index",
        )
    return chosen


def place(chosen: Collection[Artifact], store: Store, directory: Path) -> None:
    """Put wheels into ``directory``, which the store made, under their names: pex goes by these."""
    directory.mkdir()
    for wheel in chosen:
        (directory / wheel.name).hardlink_to(store.checked(wheel.sha256))

"""What the page of a bundle shows: each version of each package once, with everywhere it is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bundler.model.bundle_diff import BundleDiff, Place, group_changes, packages_by_place
from bundler.model.constraint_lines import normal_version
from bundler.model.constraints import read_effective
from bundler.model.contents import SEEDS, Contents, PackageEntry
from bundler.model.inspection import Inspection, blob_sizes, is_wheel
from bundler.model.lock import Lock
from bundler.model.review_facts import Source

#: ``stated``: nobody checked it. ``verified``: by a key that the reader's allowed_signers have. ``refused``: not so.
Standing: TypeAlias = Literal["stated", "verified", "refused"]


@dataclass(frozen=True, kw_only=True)
class PageSignature:
    """A signature file: whose it says to be, the key's fingerprint, and what is known of it (``detail``: why)."""

    name: str
    signer: str
    key: str
    standing: Standing
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class AcceptedFailure:
    """A check of a proof that failed, and the reason why it may."""

    venv: str
    target: str
    check: str
    error: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A line of effective constraints, and the layer, file and line that it comes from."""

    requirement: str
    place: str

    @property
    def layer(self) -> str:
        """Return the layer's name."""
        return self.place.partition(" ")[0]


@dataclass(frozen=True, kw_only=True)
class PageWheel:
    """A wheel of a package: bytes, the targets that have it, and what it is or was compiled from."""

    filename: str
    sha256: str
    size: int
    kind: str
    targets: tuple[str, ...]
    sources: tuple[Source, ...]


@dataclass(frozen=True, kw_only=True)
class PagePackage:
    """One version of one package.

    ``pins`` are the lines of constraint layers that name it. ``places``: venv (empty: in none) and
    target. ``size`` counts its wheels, each once; ``change`` is against the previous bundle, empty for none.
    """

    name: str
    version: str
    licence: str
    wheels: tuple[PageWheel, ...]
    pins: tuple[Pin, ...]
    places: tuple[Place, ...]
    requested: bool
    change: str = ""

    @property
    def size(self) -> int:
        """Return the bytes of its wheels."""
        return sum(wheel.size for wheel in self.wheels)


@dataclass(frozen=True, kw_only=True)
class PageSources:
    """What vouches for packages: ``of`` gives a wheel's origins, ``licences`` are by the wheel's digest."""

    of: Callable[[PackageEntry], tuple[Source, ...]]
    licences: Mapping[str, str]
    accepted: tuple[AcceptedFailure, ...]
    lock: Lock | None


@dataclass(frozen=True, kw_only=True)
class PageFacts:
    """All that the page shows.

    ``inside``: the page is itself a file of the bundle, so that it knows neither volumes, digest nor signatures.
    ``rule`` says by what the signatures were judged, empty where they were not.
    """

    bundle: Inspection
    packages: tuple[PagePackage, ...]
    accepted: tuple[AcceptedFailure, ...]
    lock: Lock | None
    tool: str
    signatures: tuple[PageSignature, ...] = ()
    rule: str = ""
    diff: BundleDiff | None = None
    inside: bool = False


def list_packages(contents: Contents, sources: PageSources, diff: BundleDiff | None) -> tuple[PagePackage, ...]:
    """Return every version of every package, sorted by name and version.

    Raises:
        ConstraintError: The effective constraints of the lock cannot be read.
    """
    found: dict[tuple[str, str], list[tuple[Place, PackageEntry]]] = {}
    for place, package in _everywhere(contents):
        found.setdefault((package.name, package.version), []).append((place, package))
    pins = _pins(sources.lock)
    changes = _changes(diff)
    sizes = {**blob_sizes(contents), **{file.sha256: file.size for file in contents.files if is_wheel(file)}}
    return tuple(
        PagePackage(
            name=name,
            version=version,
            licence=" or ".join(sorted({sources.licences.get(one.wheel_sha256, "") for _, one in entries} - {""})),
            wheels=_wheels(entries, sources, sizes),
            pins=tuple(pin for exact, pin in pins.get(name, ()) if exact in ("", normal_version(version))),
            places=tuple(sorted({place for place, _ in entries})),
            requested=any(one.requested for _, one in entries),
            change=changes.get((name, version), ""),
        )
        for (name, version), entries in sorted(found.items())
    )


def _everywhere(contents: Contents) -> Iterable[tuple[Place, PackageEntry]]:
    """Yield the packages of venvs, seed packages, and wheels that belong to neither."""
    seeds = {(seed.target, one.wheel_sha256) for seed in contents.seeds for one in seed.packages}
    for seed in contents.seeds:
        for package in seed.packages:
            yield (SEEDS, seed.target), package
    for place, packages in packages_by_place(contents).items():
        for package in packages.values():
            if place[0] or (place[1], package.wheel_sha256) not in seeds:
                yield place, package


def _wheels(
    entries: Iterable[tuple[Place, PackageEntry]], sources: PageSources, sizes: Mapping[str, int]
) -> tuple[PageWheel, ...]:
    targets: dict[str, set[str]] = {}
    packages: dict[str, PackageEntry] = {}
    for (_, target), package in entries:
        targets.setdefault(package.wheel_sha256, set()).add(target)
        packages.setdefault(package.wheel_sha256, package)
    wheels = [
        PageWheel(
            filename=package.wheel,
            sha256=digest,
            size=sizes.get(digest, 0),
            kind=package.kind,
            targets=tuple(sorted(targets[digest])),
            sources=sources.of(package),
        )
        for digest, package in packages.items()
    ]
    return tuple(sorted(wheels, key=lambda wheel: (wheel.filename, wheel.sha256)))


def _pins(lock: Lock | None) -> dict[str, list[tuple[str, Pin]]]:
    """Return for each package the lines that name it, each with the one version that it allows, or nothing."""
    found: dict[str, dict[tuple[str, Pin], None]] = {}
    for text in lock.effective.values() if lock else ():
        for entry in read_effective(text).entries:
            found.setdefault(entry.name, {})[(entry.pin, Pin(requirement=entry.requirement, place=entry.place))] = (
                None
            )
    return {name: list(lines) for name, lines in found.items()}


def _changes(diff: BundleDiff | None) -> dict[tuple[str, str], str]:
    """Return how each version came to be here."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in group_changes(diff.venvs) if diff else ():
        moved = one.change in ("upgraded", "downgraded")
        said = f"{one.change} from {one.old}" if moved else one.change
        if one.change != "removed":
            found.setdefault((one.name, one.new), []).append(said)
    return {key: ", ".join(dict.fromkeys(said)) for key, said in found.items()}

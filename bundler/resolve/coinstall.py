"""Do packages fit into one environment? Every requirement of every package against what would be there. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundler.errors import MetadataError
from bundler.model.lock import LockedPackage
from bundler.model.target import Target
from bundler.resolve.walk import CoreMeta, applies

#: Metadata of a package, or None where it is not known here.
MetaOf = Callable[[LockedPackage], CoreMeta | None]


@dataclass(frozen=True, kw_only=True)
class Held:
    """A version of a package that would be there, and who has it (names of venvs, or ``left over``)."""

    package: LockedPackage
    holders: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return ``nova 33.0.2``."""
        return f"{self.package.name} {self.package.version}"

    @property
    def by(self) -> str:
        """Return who has it, for the eye."""
        return ", ".join(self.holders)


@dataclass(frozen=True, kw_only=True)
class Break:
    """A pair that does not fit. Without a ``requirement``, both are versions of one package."""

    target: str
    asker: str
    asked_by: str
    requirement: str
    found: str
    found_by: str
    name: str

    def told(self, place: str = "") -> str:
        """Return the pair in words; ``place`` says which constraint chose what is found."""
        said = f" ({place})" if place else ""
        if not self.requirement:
            return f"{self.asker} in {self.asked_by}, but {self.found} in {self.found_by}{said}"
        if not self.found:
            return f"{self.asker} requires {self.requirement}, which is not there"
        by = f" of {self.found_by}" if self.found_by != self.asked_by else ""
        return f"{self.asker} requires {self.requirement}, but {self.found}{by} is there{said}"


@dataclass(kw_only=True)
class Environment:
    """What one environment on ``target`` would hold. ``extras`` are those that were asked for by name."""

    target: Target
    meta_of: MetaOf
    extras: Mapping[str, frozenset[str]] = field(default_factory=dict)
    held: dict[str, list[Held]] = field(default_factory=dict)

    def add(self, packages: Iterable[LockedPackage], holder: str) -> None:
        """Put the packages of ``holder`` in; the same version of two holders is there once."""
        for package in packages:
            there = self.held.setdefault(package.name, [])
            for number, one in enumerate(there):
                if one.package.version == package.version:
                    holders = tuple(dict.fromkeys((*one.holders, holder)))
                    there[number] = Held(package=one.package, holders=holders)
                    break
            else:
                there.append(Held(package=package, holders=(holder,)))

    def breaks(self) -> tuple[Break, ...]:
        """Return every pair that does not fit, by name."""
        found = [one for name in sorted(self.held) for one in self._versions(self.held[name])]
        wanted = self._wanted()
        for name in sorted(self.held):
            for asker in self.held[name]:
                for requirement in self._requirements(asker, wanted[name]):
                    found += self._unmet(asker, requirement)
        return tuple(dict.fromkeys(found))

    def unknown(self) -> tuple[str, ...]:
        """Return the packages whose requirements are not known here."""
        every = (one for there in self.held.values() for one in there)
        return tuple(sorted(one.name for one in every if self.meta_of(one.package) is None))

    def _versions(self, there: Sequence[Held]) -> Iterator[Break]:
        first, *others = there
        for other in others:
            yield self._break(first, "", other)

    def _wanted(self) -> dict[str, set[str]]:
        """Return the extras that packages ask for of each other, over those that were asked for by name."""
        wanted = {name: {"", *self.extras.get(name, ())} for name in self.held}
        todo = [(name, extra) for name, extras in wanted.items() for extra in extras]
        while todo:
            name, extra = todo.pop()
            for one in self.held[name]:
                for requirement in self._requirements(one, {extra}):
                    other = str(canonicalize_name(requirement.name))
                    for more in map(canonicalize_name, requirement.extras):
                        if other in wanted and more not in wanted[other]:
                            wanted[other].add(more)
                            todo.append((other, more))
        return wanted

    def _requirements(self, asker: Held, extras: Iterable[str]) -> list[Requirement]:
        meta = self.meta_of(asker.package)
        if meta is None:
            return []
        try:
            return [one for one in meta.requirements if any(applies(one, self.target, extra) for extra in extras)]
        except MetadataError as error:
            raise MetadataError(f"{asker.name}: {error.message}", hint=error.hint) from error

    def _unmet(self, asker: Held, requirement: Requirement) -> Iterator[Break]:
        there = self.held.get(str(canonicalize_name(requirement.name)), [])
        if not there:
            yield self._break(asker, str(requirement), None)
        for one in there:
            if requirement.url is None and not requirement.specifier.contains(one.package.version, prereleases=True):
                yield self._break(asker, _short(requirement), one)

    def _break(self, asker: Held, requirement: str, found: Held | None) -> Break:
        return Break(
            target=self.target.name,
            asker=asker.name,
            asked_by=asker.by,
            requirement=requirement,
            found=found.package.version if found and requirement else found.name if found else "",
            found_by=found.by if found else "",
            name=found.package.name if found else "",
        )


def _short(requirement: Requirement) -> str:
    """Return the requirement without extras and marker: what matters to a version."""
    return f"{requirement.name}{requirement.specifier}"

"""Constraint layers: user over pins over upper, merged into one effective file.

For every package and every marker environment the first layer that names the package there wins; what a lower layer
says about the rest of the environments stays. The text is universal: nothing in it depends on the targets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from packaging.markers import Marker

from bundler.errors import ConstraintError, Problem
from bundler.model.constraint_lines import Entry, logical_lines, read_line
from bundler.model.lock import Shadowed
from bundler.model.marker_grid import Grid
from bundler.model.marker_regions import MarkerRefused, Region, parse, without

#: More different lines than this about one package are refused: comparing them is quadratic.
_MOST_ENTRIES = 100


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One constraints file that does not contradict itself."""

    name: str
    where: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Effective:
    """What the layers say together. ``entries`` are sorted by name and have the markers of where they hold."""

    entries: tuple[Entry, ...]
    shadowed: tuple[Shadowed, ...] = ()
    layers: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return the effective constraints file, each line with the place that it comes from."""
        order = " ".join(" over ".join(self.layers).split())
        lines = [f"# Effective constraints of the layers {order}; the first that names a package wins."]
        lines += [f"{entry.requirement}  # {entry.place}" for entry in self.entries]
        return "\n".join(lines) + "\n"

    def of(self, name: str) -> tuple[Entry, ...]:
        """Return the entries of one package (normalised name), for all environments."""
        return tuple(entry for entry in self.entries if entry.name == name)

    def effective_for(self, environment: Mapping[str, str]) -> dict[str, tuple[Entry, ...]]:
        """Return the entries that hold in a marker environment, by package."""
        found: dict[str, tuple[Entry, ...]] = {}
        for entry in self.entries:
            if applies(entry, environment):
                found[entry.name] = (*found.get(entry.name, ()), entry)
        return found


def applies(entry: Entry, environment: Mapping[str, str]) -> bool:
    """Return whether ``entry`` holds in a marker environment."""
    return not entry.marker or Marker(entry.marker).evaluate(dict(environment))


def parse_layer(name: str, text: str, where: str) -> Layer:
    """Return the layer written in ``text``; ``where`` is what messages call the file.

    Raises:
        ConstraintError: Lines do not parse, or contradict each other; ``problems`` has them all.
    """
    layer, problems = scan_layer(name, text, where)
    if problems:
        raise ConstraintError(f"the constraint layer {name} ({where}) cannot be used", problems=problems)
    return layer


def scan_layer(name: str, text: str, where: str) -> tuple[Layer, tuple[Problem, ...]]:
    """Return what can be read of a layer and everything that is wrong with it."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    for number, line in logical_lines(text):
        found = read_line(name, line, f"{where}:{number}")
        if isinstance(found, Problem):
            problems.append(found)
        else:
            entries.append(found)
    unique = _unique(entries)
    for group in _by_name(unique).values():
        problems.extend(_contradictions(group))
    return Layer(name=name, where=where, entries=tuple(unique)), tuple(problems)


def merge(layers: Sequence[Layer]) -> Effective:
    """Return what ``layers`` say together, highest precedence first.

    Raises:
        ConstraintError: The markers of a package cannot be compared.
    """
    groups = [_by_name(layer.entries) for layer in layers]
    entries: list[Entry] = []
    shadowed: list[Shadowed] = []
    problems: list[Problem] = []
    for name in sorted({name for group in groups for name in group}):
        levels = [group[name] for group in groups if name in group]
        try:
            won = _Contest(levels)
        except MarkerRefused as error:
            problems.append(Problem(where=levels[0][0].where, what=f"{name}: {error}"))
            continue
        entries.extend(won.entries)
        shadowed.extend(won.shadowed)
    if problems:
        raise ConstraintError("constraint layers cannot be merged", problems=problems)
    names = tuple(layer.name for layer in layers)
    return Effective(entries=tuple(entries), shadowed=tuple(dict.fromkeys(shadowed)), layers=names)


@dataclass
class _Contest:
    """Settle one package: ``levels`` are the entries of each layer that names it, highest first."""

    levels: Sequence[Sequence[Entry]]
    entries: list[Entry] = field(default_factory=list)
    shadowed: list[Shadowed] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.levels) == 1:
            self.entries.extend(self.levels[0])
            return
        self._grid = Grid(parse(entry.marker) for level in self.levels for entry in level)
        self._won: list[tuple[Entry, int]] = []
        above: list[Region] = []
        covered = 0
        for level in self.levels:
            for entry, left in [self._settle(entry, above, covered) for entry in level]:
                self._won.append((entry, left))
            regions = [parse(entry.marker) for entry in level]
            above.extend(regions)
            for region in regions:
                covered |= self._grid.mask(region)

    def _settle(self, entry: Entry, above: Sequence[Region], covered: int) -> tuple[Entry, int]:
        region = parse(entry.marker)
        whole = self._grid.mask(region)
        for winner, where in self._won:
            if where & whole and not winner.agrees(entry):
                self.shadowed.append(_shadowed(winner, entry))
        left = whole & ~covered
        if left and left != whole:
            rest = self._grid.simplify(without(region, above))
            self.entries.append(replace(entry, marker=str(rest)))
        elif left:
            self.entries.append(entry)
        return entry, left


def read_effective(text: str) -> Effective:
    """Return what :attr:`Effective.text` wrote; each entry's place is the comment of its line.

    Raises:
        ConstraintError: It is no such text.
    """
    entries: list[Entry] = []
    for number, line in enumerate(text.splitlines(), start=1):
        requirement, _, place = line.partition("  # ")
        if not requirement.strip() or requirement.startswith("#"):
            continue
        found = read_line("", requirement.strip(), place or f"line {number}")
        if isinstance(found, Problem):
            raise ConstraintError("effective constraints cannot be read", problems=[found])
        entries.append(found)
    return Effective(entries=tuple(entries))


def _shadowed(winner: Entry, loser: Entry) -> Shadowed:
    return Shadowed(
        name=loser.name,
        winner=winner.requirement,
        winner_where=winner.place,
        loser=loser.requirement,
        loser_where=loser.place,
    )


def _by_name(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.name, []).append(entry)
    return groups


def _unique(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries less those that say again what an earlier line says (``==X`` and ``===X``)."""
    first: dict[tuple[str, str, str], Entry] = {}
    for entry in entries:
        first.setdefault((entry.name, entry.pin or entry.constraint, entry.marker), entry)
    return list(first.values())


def _contradictions(group: Sequence[Entry]) -> list[Problem]:
    if len(group) == 1:
        return []
    if len(group) > _MOST_ENTRIES:
        return [
            Problem(where=group[-1].where, what=f"more than {_MOST_ENTRIES} different lines about {group[0].name}")
        ]
    try:
        grid = Grid(parse(entry.marker) for entry in group)
    except MarkerRefused as error:
        return [Problem(where=group[-1].where, what=f"{group[0].name}: {error}")]
    masks = [grid.mask(parse(entry.marker)) for entry in group]
    return [
        Problem(
            where=later.where,
            what=f"{later.requirement} contradicts {earlier.requirement} at {earlier.where}",
            hint="one package can have one version in one environment; separate them with markers",
        )
        for place, later in enumerate(group)
        for other, earlier in enumerate(group[:place])
        if masks[place] & masks[other] and later.contradicts(earlier)
    ]

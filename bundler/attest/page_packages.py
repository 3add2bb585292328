"""The part of a bundle's page that lists packages, and the form that finds some of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bundler.attest.page_html import Column, Table, cell, code, listed, names, row, size, targets, text, whole, wide
from bundler.model.bundle_diff import Place
from bundler.model.contents import SEEDS
from bundler.model.page_facts import PageFacts, PagePackage, PageWheel, Pin
from bundler.model.review_facts import Source
from bundler.model.text import human_size

_BUILT = {"sdist": "sdist", "git": "git", "directory": "local source"}


@dataclass(frozen=True, kw_only=True)
class Places:
    """Venvs on targets, by number: what rows and options of the form have in common."""

    numbers: dict[Place, int]

    @classmethod
    def of(cls, packages: Iterable[PagePackage]) -> Places:
        """Number every place."""
        places = sorted({place for package in packages for place in package.places})
        return cls(numbers={place: number for number, place in enumerate(places)})

    def venv(self, name: str) -> str:
        """Return the numbers of a venv on all targets."""
        return self._numbers(number for (venv, _), number in self.numbers.items() if venv == name)

    def target(self, name: str) -> str:
        """Return the numbers of all venvs on a target."""
        return self._numbers(number for (_, target), number in self.numbers.items() if target == name)

    def row(self, package: PagePackage) -> str:
        """Return the numbers of where a package is."""
        return self._numbers(self.numbers[place] for place in package.places)

    def link(self, venv: str, target: str) -> str:
        """Return the attributes of a link that shows one venv's packages on one target."""
        return f' data-venv="{self.venv(venv)}" data-target="{self.target(target)}"'

    @staticmethod
    def _numbers(numbers: Iterable[int]) -> str:
        return " ".join(map(str, sorted(numbers)))


def packages_section(found: PageFacts, places: Places) -> str:
    """Return the form and the table."""
    compared = found.diff is not None
    columns = [
        Column(title="Package"),
        Column(title="Version"),
        *([Column(title="Change")] if compared else []),
        Column(title="Licence"),
        Column(title="Origin"),
        Column(title="Constraint"),
        Column(title="Size", number=True),
        Column(title="Venvs"),
        Column(title="Targets"),
        Column(title="Wheels", plain=True),
    ]
    versions = len(found.packages)
    number = len({one.name for one in found.packages})
    caption = f"{number} packages in {versions} versions. Size: that of the wheels. *: asked for by name."
    rows = (_row(package, places, compared=compared) for package in found.packages)
    table = Table(name="package-table", caption=caption, columns=columns, rows=rows).html()
    return _form(places, compared=compared) + table if table else ""


def _form(places: Places, *, compared: bool) -> str:
    """Return the form; the value of an option lists the places that it stands for."""
    venvs = sorted({venv for venv, _ in places.numbers}, key=lambda name: (name in ("", SEEDS), name))
    systems = sorted({target for _, target in places.numbers})
    changed = '<label>Changed only <input type="checkbox" id="changed"></label>' if compared else ""
    return (
        '<form id="find" role="search" aria-label="Find packages" autocomplete="off" hidden>'
        '<label>Find <input type="search" id="words" aria-controls="package-table" '
        'placeholder="name, version, licence, host, digest"></label>'
        f'<label>Venv <select id="venv"><option value="">all</option>'
        f"{_options((_venv(name), places.venv(name)) for name in venvs)}</select></label>"
        f'<label>Target <select id="target"><option value="">all</option>'
        f"{_options((name, places.target(name)) for name in systems)}</select></label>"
        f'{changed}<button type="reset">Show all</button><output id="found" for="words venv target"></output></form>'
    )


def _options(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f'<option value="{value}">{text(name)}</option>' for name, value in pairs)


def _venv(name: str) -> str:
    return name or "in no venv"


def _row(package: PagePackage, places: Places, *, compared: bool) -> str:
    asked = " *" if package.requested else ""
    changed = " data-c" if package.change else ""
    return row(
        text(package.name) + asked,
        whole(package.version),
        *([cell(text(package.change))] if compared else []),
        wide(text(package.licence) if package.licence else "not stated"),
        wide(text(_origin(package))),
        cell(text(", ".join(dict.fromkeys(pin.layer for pin in package.pins)))),
        size(package.size),
        cell(names(list(dict.fromkeys(_venv(venv) for venv, _ in package.places)), "venvs")),
        targets(sorted({target for _, target in package.places})),
        cell(_details(package)),
        data=f' data-p="{places.row(package)}"{changed}',
    )


def _origin(package: PagePackage) -> str:
    found = [_from(wheel, source) for wheel in package.wheels for source in wheel.sources]
    found += [_BUILT.get(wheel.kind, wheel.kind) for wheel in package.wheels if not wheel.sources]
    return "; ".join(dict.fromkeys(found))


def _from(wheel: PageWheel, source: Source) -> str:
    """Return an origin in a few words; the whole address is among the details."""
    host = urlsplit(source.uri.removeprefix("git+")).hostname
    where = f"{_BUILT.get(source.kind, source.kind)} from {host or 'the build host'}"
    if source.kind == "git":
        where = f"git {source.digest.partition(':')[2][:12]} from {host or 'the build host'}"
    return f"{where}, compiled" if wheel.kind in _BUILT else where


def _details(package: PagePackage) -> str:
    number = len(package.wheels)
    body = listed([*map(_wheel, package.wheels), *map(_pin, package.pins)])
    spread = _spread(package.places)
    return f"<details><summary>{number} wheel{'' if number == 1 else 's'}</summary>{body}{spread}</details>"


def _pin(pin: Pin) -> str:
    return f"constraint {code(pin.requirement)} of {text(pin.place)}"


def _wheel(wheel: PageWheel) -> str:
    how = "compiled for" if wheel.kind in _BUILT else "for"
    lines = [
        code(wheel.filename),
        f"{human_size(wheel.size)}, {how} {text(', '.join(wheel.targets))}",
        code(f"sha256:{wheel.sha256}"),
        *(f"from {code(source.uri)}{_other(source.digest, wheel)}" for source in wheel.sources),
    ]
    return "<br>".join(lines)


def _other(digest: str, wheel: PageWheel) -> str:
    return "" if digest == f"sha256:{wheel.sha256}" else f" {code(digest)}"


def _spread(places: Sequence[Place]) -> str:
    """Return which venvs on which targets, where it is not all of them on all."""
    venvs, systems = {venv for venv, _ in places}, {target for _, target in places}
    if len(places) == len(venvs) * len(systems):
        return ""
    return listed(
        f"{text(target)}: {text(', '.join(_venv(venv) for venv, on in places if on == target))}"
        for target in sorted(systems)
    )

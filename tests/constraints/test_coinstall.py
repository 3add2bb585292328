"""Do packages fit into one environment?"""

from __future__ import annotations

from bundler.model.lock import Artifact, LockedPackage
from bundler.model.target import known_target
from bundler.resolve.coinstall import Environment
from bundler.resolve.walk import CoreMeta

TARGET = known_target("debian-12-x86_64")


def package(name: str, version: str) -> LockedPackage:
    origin = Artifact(name=f"{name}-{version}-py3-none-any.whl", url="https://x/", sha256=f"{name} {version}")
    return LockedPackage(name=name, version=version, kind="wheel", origin=origin)


def told(venvs: dict[str, dict[str, list[str]]], **extras: str) -> list[str]:
    """Return what breaks where ``venvs`` are one environment: name and version of packages, and what they require."""
    metadata = {
        key: CoreMeta(version=key.split()[1], requires_dist=tuple(lines))
        for packages in venvs.values()
        for key, lines in packages.items()
    }
    environment = Environment(
        target=TARGET,
        meta_of=lambda one: metadata[f"{one.name} {one.version}"],
        extras={name: frozenset({extra}) for name, extra in extras.items()},
    )
    for venv, packages in venvs.items():
        environment.add((package(*key.split()) for key in packages), venv)
    return [one.told() for one in environment.breaks()]


def test_what_fits_says_nothing() -> None:
    """Markers that do not hold and extras that nobody asks for do not count."""
    assert not told({"nova": {"nova 33": ["six>=1", 'win>1; os_name == "nt"', 'gone; extra == "x"'], "six 1.17": []}})


def test_a_requirement_names_the_pair() -> None:
    """Who requires what, what is there, and of whom if that is another venv."""
    found = told({"nova": {"nova 33.0": ["x<2"], "x 1.9": []}, "heat": {"x 2.1": []}})

    assert found == ["x 1.9 in nova, but x 2.1 in heat", "nova 33.0 requires x<2, but 2.1 of heat is there"]


def test_what_is_not_there_is_named() -> None:
    """A required package that nobody holds."""
    assert told({"nova": {"nova 33": ["six>=1"]}}) == ["nova 33 requires six>=1, which is not there"]


def test_extras_count_where_somebody_asks_for_them() -> None:
    """By another package, or by the manifest."""
    cache = {"cache 1": ['dogpile>2; extra == "d"'], "dogpile 1": []}
    said = ["cache 1 requires dogpile>2, but 1 is there"]

    assert not told({"nova": cache})
    assert told({"nova": {"nova 1": ["cache[d]"], **cache}}) == said
    assert told({"nova": cache}, cache="d") == said


def test_pre_releases_that_are_locked_count() -> None:
    """The resolver chose them: they are there."""
    assert not told({"nova": {"nova 33": ["x>=1"], "x 2.0.0rc1": []}})

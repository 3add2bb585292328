"""`bundle-build constraints check`: layers, lock and requirements against each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundler.errors import UsageError
from bundler.model.lock import Artifact, Kind, Lock, LockedPackage, VenvLock
from bundler.model.target import known_target
from bundler.sources.metadata_cache import CachedMetadata, remember
from bundler.store.cas import Store
from bundler.workflows.check_constraints import CheckReport, CheckRequest, check_constraints
from bundler.workflows.lock_files import save_lock
from bundler.workflows.locked_metadata import remember_source

TARGET = "debian-13-aarch64"
MANIFEST = f"""\
schema: 1
release: {{name: r, version: "1"}}
targets: [{TARGET}]
default_packages: []
constraints:
  - {{name: pins, file: pins.txt}}
  - {{name: upper, file: upper.txt}}
venvs:
  nova: {{path: /opt/nova, packages: ["nova[cache]"]}}
  heat:
    path: /opt/heat
    packages: [heat]
    constraints: {{layers: [{{name: hotfix, lines: [x==2.1]}}]}}
"""


@dataclass
class Place:
    """A directory with a manifest, its lock, and a store that knows what packages require."""

    root: Path

    @property
    def store(self) -> Store:
        return Store(self.root / "store")

    def package(self, name: str, version: str, *requires: str, kind: Kind = "wheel") -> LockedPackage:
        digest = f"{name} {version}".encode().hex().ljust(64, "0")[:64]
        suffix = ".tar.gz" if kind == "sdist" else "-py3-none-any.whl"
        origin = Artifact(name=f"{name}-{version}{suffix}", url="https://x/x", sha256=digest)
        package = LockedPackage(name=name, version=version, kind=kind, origin=origin)
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
        data = "\n".join(["Metadata-Version: 2.1", *lines, "", ""]).encode()
        if kind == "sdist":
            remember_source(self.store, package, known_target(TARGET), data)
        else:
            remember(self.store, digest, CachedMetadata(data=data))
        return package

    def lock(self, directory: str = "m.lock", /, **venvs: list[LockedPackage]) -> Path:
        target = known_target(TARGET)
        found = Lock(
            name="r",
            version="1",
            sequence=1,
            created=0,
            inputs="i",
            resolver="uv 0",
            targets=(TARGET,),
            venvs=tuple(VenvLock(venv=name, target=TARGET, packages=tuple(held)) for name, held in venvs.items()),
            effective={"release": "x==1.9  # pins pins.txt:1\n", "heat": "x==2.1  # hotfix manifest:1\n"},
        )
        save_lock(found, {TARGET: target}, self.root / directory)
        return self.root / directory

    def check(self, path: str = "m.yaml", **options: str) -> CheckReport:
        old = self.root / options["old"] if "old" in options else None
        request = CheckRequest(path=self.root / path, store=self.store, venv=options.get("venv", ""), old=old)
        return check_constraints(request)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).parent / "bundle-build", "constraints", "check", *arguments],
            cwd=self.root,
            env={**os.environ, "BUNDLE_STORE": str(self.root / "store")},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "m.yaml").write_text(MANIFEST)
    (tmp_path / "pins.txt").write_text("x==1.9\n")
    (tmp_path / "upper.txt").write_text("# tested\nx===1.8\ny===1\n")
    return Place(tmp_path)


def good(place: Place) -> dict[str, list[LockedPackage]]:
    nova = [place.package("nova", "33.0", "x<2", 'y; extra == "cache"'), place.package("x", "1.9")]
    return {"nova": [*nova, place.package("y", "1", kind="sdist")]}


def test_layers_are_checked_without_a_lock(place: Place) -> None:
    """Who lost is told with file and line of both."""
    report = place.check()

    assert [report.shadowed[0].winner_where, report.shadowed[0].loser_where] == [
        "pins pins.txt:1",
        "upper upper.txt:2",
    ]
    assert report.lock == ""


@pytest.mark.parametrize("path", ["m.yaml", "m.lock"])
def test_a_lock_that_fits_has_no_findings(place: Place, path: str) -> None:
    """Manifest or lock: nothing is against the layers, nothing breaks, everything is known."""
    place.lock(**good(place))

    report = place.check(path)

    assert (report.violations, report.alone, report.together, report.unknown) == ((), (), (), ())
    assert report.packages == 3


@pytest.mark.parametrize("path", ["m.yaml", "m.lock"])
def test_a_lock_against_the_layers_is_found(place: Place, path: str) -> None:
    """A version that the layers do not allow: venv, target, constraint and the place of it."""
    nova, _, y = good(place)["nova"]
    place.lock(nova=[nova, place.package("x", "1.8"), y])

    (violation,) = place.check(path).violations

    assert (violation.venv, violation.package, violation.version) == ("nova", "x", "1.8")
    assert violation.place.split() == ["pins", "pins.txt:1"]


def test_a_release_that_is_no_one_environment_names_the_pair(place: Place) -> None:
    """Heat has another x; its layer and line are told, because it chose that version."""
    place.lock(**good(place), heat=[place.package("heat", "26.0"), place.package("x", "2.1")])

    report = place.check()

    assert report.alone == ()
    assert [finding.said for finding in report.together] == [
        "x 1.9 in nova, but x 2.1 in heat (hotfix manifest layer hotfix:1)",
        "nova 33.0 requires x<2, but 2.1 of heat is there (hotfix manifest layer hotfix:1)",
    ]


def test_a_venv_that_does_not_fit_is_found(place: Place) -> None:
    """Extras that the manifest asks for count."""
    nova = [place.package("nova", "33.0", 'y>=2; extra == "cache"'), place.package("y", "1")]
    place.lock(nova=nova)

    (finding,) = place.check().alone

    assert finding.said == "nova 33.0 requires y>=2, but 1 is there (upper upper.txt:3)"
    assert finding.targets == (TARGET,)


def test_an_upgrade_in_place_leaves_things_over(place: Place) -> None:
    """What the new lock has no longer stays in the venv, and may not fit what is new."""
    place.lock("old.lock", nova=[place.package("nova", "32.0", "x", "old"), place.package("old", "1", "x<1.9")])
    place.lock(**good(place))

    report = place.check(venv="nova", old="old.lock")

    assert [finding.said for finding in report.upgrade] == [
        "old 1 requires x<1.9, but 1.9 of nova is there (pins pins.txt:1)"
    ]
    assert report.alone == ()


def test_what_is_not_known_is_told(place: Place) -> None:
    """Without metadata there is no verdict."""
    place.lock(**good(place))

    report = check_constraints(CheckRequest(path=place.root / "m.lock", store=Store(place.root / "other")))

    assert report.unknown == ("nova 33.0", "x 1.9", "y 1")


@pytest.mark.parametrize("options", [{"venv": "nova"}, {"old": "m.lock"}, {"venv": "novva", "old": "m.lock"}])
def test_options_that_do_not_fit_are_refused(place: Place, options: dict[str, str]) -> None:
    """Both of --venv and --from, and a venv that is there."""
    place.lock(**good(place))

    with pytest.raises(UsageError):
        place.check(**options)


@pytest.mark.parametrize(
    ("x", "extra", "code"), [("1.9", (), 0), ("1.8", (), 12), ("1.9+heat", (), 20), ("1.9+heat", ("--apart",), 0)]
)
def test_the_exit_code_says_what_is_wrong(place: Place, x: str, extra: tuple[str, ...], code: int) -> None:
    """All fits: 0; against the layers: 12; a pair that breaks: 20, unless venvs are apart on purpose."""
    nova, _, y = good(place)["nova"]
    venvs = {"nova": [nova, place.package("x", x.partition("+")[0]), y]}
    if "heat" in x:
        venvs["heat"] = [place.package("heat", "26.0"), place.package("x", "2.1")]
    place.lock(**venvs)

    done = place.command("m.yaml", "--json", *extra)

    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["packages"] == sum(len(held) for held in venvs.values())


def test_people_read_what_is_wrong(place: Place) -> None:
    """The pair, the target, the layer, and how many."""
    place.lock(**good(place), heat=[place.package("heat", "26.0"), place.package("x", "2.1")])

    done = place.command("m.yaml")

    assert "Lost: x===1.8 (upper upper.txt:2) to x==1.9 (pins pins.txt:1)\n" in done.stdout
    assert f"If the release were one environment, {TARGET}: nova 33.0 requires x<2, but 2.1 of heat" in done.stdout
    assert "5 locked packages, 2 things do not fit\n" in done.stdout
    assert "error: what is locked does not fit together: x 1.9 in nova" in done.stderr

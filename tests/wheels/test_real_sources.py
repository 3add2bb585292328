"""Real source archives of several backends, from the package index that pip is configured for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

from bundler.buildenv.host import HostEnvironment
from bundler.model.lock import Artifact, BuildLock, Lock, LockedPackage, VenvLock
from bundler.model.target import Target
from bundler.model.wheel import Wheel
from bundler.process import Command, run
from bundler.store.cas import Store, key_of
from bundler.wheels.inspector import SourceInspector
from bundler.wheels.provide import Provider, provide_requirements, provide_wheels
from bundler.wheels.source import Sources


def pip_download(folder: Path, *arguments: str) -> list[Path]:
    """Download into ``folder`` unless that was done before, and return the files."""
    if not folder.is_dir():
        folder.mkdir()
        run(Command(argv=[sys.executable, "-m", "pip", "download", "-q", "-d", str(folder), *arguments]))
    return sorted(folder.iterdir())


class Release:
    """A store of its own, with pip in the place of a resolver; downloads are shared."""

    def __init__(self, root: Path, downloads: Path, target: Target) -> None:
        self.store = Store(root)
        self.target = target
        self._downloads = downloads
        environment = HostEnvironment(self.store.tmp, target=target)
        sources = Sources(store=self.store, checkout=lambda *_: None, root=root)
        self.provider = Provider(
            store=self.store,
            sources=sources,
            targets={target.name: target},
            environments={target.name: environment},
        )
        self.inspector = SourceInspector(
            sources=sources,
            fetch=lambda _artifacts: None,
            environment=lambda _target: environment,
            wheels_for=lambda lines, goal: provide_requirements(self.wheels(lines), (), goal, self.provider),
        )

    def sdist(self, name: str, version: str) -> LockedPackage:
        """Return the locked source archive of a package."""
        arguments = ("--no-deps", "--no-binary", name, f"{name}=={version}")
        (path,) = pip_download(self._downloads / f"{name}-sdist", *arguments)
        return LockedPackage(name=name, version=version, kind="sdist", origin=self._origin(path))

    def wheels(self, requirements: Sequence[str]) -> tuple[LockedPackage, ...]:
        """Return the locked wheels that satisfy ``requirements``."""
        place = self._downloads / key_of(requirements)[:16]
        options = ["--only-binary", ":all:", "--python-version", self.target.python.version]
        return tuple(self._wheel(path) for path in pip_download(place, *options, *requirements))

    def _wheel(self, path: Path) -> LockedPackage:
        name, version, _, _ = parse_wheel_filename(path.name)
        return LockedPackage(name=name, version=str(version), kind="wheel", origin=self._origin(path))

    def _origin(self, path: Path) -> Artifact:
        blob = self.store.put_file(path)
        return Artifact(name=path.name, url=f"https://index.example/{path.name}", sha256=blob.digest, size=blob.size)

    def build(self, package: LockedPackage) -> Wheel:
        """Lock the build requirements of ``package`` and build it."""
        needs = self.wheels(self.inspector.build_requires(package, self.target))
        target = self.target.name
        build = BuildLock(package=package.name, version=package.version, target=target, packages=needs)
        lock = Lock(
            name="release",
            version="1",
            sequence=1,
            created=1,
            inputs="",
            resolver="pip",
            targets=(target,),
            venvs=(VenvLock(venv="only", target=target, packages=(package,)),),
            builds=(build,),
        )
        (only,) = provide_wheels(lock, self.provider)
        return only.wheels[0]


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "version", "dependency"),
    [
        pytest.param("testresources", "2.0.2", "pbr", id="setuptools with pbr"),
        pytest.param("ncclient", "0.7.0", "paramiko", id="setuptools with versioneer"),
        pytest.param("soupsieve", "2.6", "", id="hatchling"),
        pytest.param("typing-extensions", "4.12.2", "", id="flit"),
        pytest.param("markupsafe", "3.0.2", "", id="setuptools, in C", marks=pytest.mark.native),
        pytest.param("greenlet", "3.1.1", "", id="setuptools, in C++", marks=pytest.mark.native),
    ],
)
def test_a_real_source_is_inspected_and_built_twice_the_same(
    tmp_path: Path, target: Target, name: str, version: str, dependency: str
) -> None:
    """Requirements from table and hook, metadata, wheel; a second store gives the same bytes."""
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    releases = [Release(tmp_path / place, downloads, target) for place in ("one", "another-place")]
    packages = [release.sdist(name, version) for release in releases]
    metadata = releases[0].inspector.metadata(packages[0], target).decode()
    first, second = (release.build(package) for release, package in zip(releases, packages, strict=True))

    assert f"\nVersion: {version}\n" in metadata
    assert dependency in metadata
    assert first.digest == second.digest

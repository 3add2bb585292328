"""Sources that say what they need only where their target's libraries are: they are asked there, and answer once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bundler.buildenv.host import HostEnvironment
from bundler.buildenv.host_target import host_target
from bundler.buildenv.port import BuildCommand, BuildEnvironment, Workspace
from bundler.errors import BuildEnvironmentError, MetadataError, ResolutionFailed, WheelBuildFailed
from bundler.model.lock import Lock
from bundler.model.target import Target, known_target
from bundler.resolve.source_metadata import joined
from bundler.resolve.walk import CoreMeta
from bundler.store.cas import Store
from bundler.workflows.lock import LockRequest, LockResult, lock
from bundler.workflows.lock_services import LockServices

OLD, NEW, ARM = "debian-12-x86_64", "debian-13-x86_64", "debian-12-aarch64"
#: What pkg-config finds of systemd in a build environment that has its headers.
PKG_CONFIG = "Name: libsystemd\nDescription: a stand-in\nVersion: 252\nLibs: -lsystemd\nCflags:\n"


class Elsewhere(HostEnvironment):
    """A system of its own as far as these sources can tell: SYSTEM is its name, and it has ``files``."""

    def __init__(self, scratch: Path, target: Target, files: Mapping[str, str]) -> None:
        super().__init__(scratch, target=replace(target, python=host_target().python))
        self.files = files
        self.created = 0

    def create(self, root: Path, wheels: Mapping[str, Path]) -> Workspace:
        self.created += 1
        workspace = super().create(root, wheels)
        for name, text in self.files.items():
            (root / name).write_text(text)
        return workspace

    def run(self, workspace: Workspace, command: BuildCommand) -> None:
        there = {"SYSTEM": self.target.name, "PKG_CONFIG_PATH": str(workspace.seen_at)}
        super().run(workspace, replace(command, env={**command.env, **there}))


@dataclass
class Systems:
    """Build environments by target; ``broken`` ones cannot be made."""

    root: Path
    files: Mapping[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    made: dict[str, Elsewhere] = field(default_factory=dict)

    def environment(self, target: Target) -> BuildEnvironment:
        if target.name in self.broken:
            raise BuildEnvironmentError(f"there is no system for {target.name}", hint="make one")
        return self.made.setdefault(target.name, Elsewhere(self.root / target.name, target, self.files))

    @property
    def created(self) -> int:
        return sum(one.created for one in self.made.values())


@pytest.fixture
def systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systems:
    found = Systems(tmp_path / "systems")
    monkeypatch.setattr(LockServices, "environment", found.environment)
    return found


@pytest.fixture
def lock_venvs(tmp_path: Path, index: Any) -> Callable[..., LockResult]:
    def run(targets: list[str], *packages: str, **more: Any) -> LockResult:
        document = {
            "schema": 1,
            "seed_packages": [],
            "release": {"name": "test", "version": "1"},
            "targets": targets,
            "default_packages": [],
            "indexes": [{"name": "local", "url": index.url}],
            "venvs": {"web": {"path": "/opt/web", "packages": list(packages), **more.pop("venv", {})}},
            **more,
        }
        path = tmp_path / "release.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in document.items() if value is not None}))
        return lock(LockRequest(manifest=path, store=Store(tmp_path / "store"), lock_dir=tmp_path / "lock"))

    return run


def names(found: Lock, target: str) -> set[str]:
    return {one.name for one in found.venv("web", target).packages}


def test_each_target_is_asked_in_its_own_system(
    systems: Systems, lock_venvs: Callable[..., LockResult], index: Any
) -> None:
    """What a source requires on one system only is locked there only, and the lock warns of the difference."""
    index.sdist("app", "1.0", ["lib", f"{OLD}: older", f"{NEW}: newer"])
    for name in ("lib", "older", "newer"):
        index.wheel(name, "1.0")

    found = lock_venvs([OLD, NEW], "app").lock

    assert names(found, OLD) == {"app", "lib", "older"}
    assert names(found, NEW) == {"app", "lib", "newer"}
    (warning,) = found.warnings
    assert warning.startswith("app 1.0 does not require the same everywhere: ")
    assert f"newer on {NEW} only" in warning


def test_answers_are_remembered(
    systems: Systems, lock_venvs: Callable[..., LockResult], index: Any, tmp_path: Path
) -> None:
    """A second lock of the same sources asks no build backend, and is the same."""
    index.sdist("app", "1.0", ["lib", f"{NEW}: newer"])
    for name in ("lib", "newer"):
        index.wheel(name, "1.0")
    first = lock_venvs([OLD, NEW], "app").lock
    asked = systems.created
    (tmp_path / "lock").rename(tmp_path / "other")

    second = lock_venvs([OLD, NEW], "app").lock

    assert asked > 0
    assert systems.created == asked
    assert replace(second, sequence=first.sequence, created=first.created) == first


def test_a_system_that_does_not_take_the_source_need_not_answer(
    systems: Systems, lock_venvs: Callable[..., LockResult], index: Any
) -> None:
    """A source that only one target asks for is locked although another target's system cannot be asked."""
    index.sdist("app", "1.0", ["lib"])
    index.wheel("lib", "1.0")
    systems.broken.add(ARM)

    found = lock_venvs([OLD, ARM], "lib", venv={"targets": {OLD: {"packages": ["app"]}}}).lock

    assert names(found, OLD) == {"app", "lib"}
    assert names(found, ARM) == {"lib"}


def test_a_system_that_takes_the_source_must_answer(
    systems: Systems, lock_venvs: Callable[..., LockResult], index: Any
) -> None:
    """Where a source is taken its own system's answer counts, not that of another."""
    index.sdist("app", "1.0")
    systems.broken.add(ARM)

    with pytest.raises(BuildEnvironmentError, match=f"no system for {ARM}"):
        lock_venvs([OLD, ARM], "app")


def test_sources_that_cannot_be_asked_anywhere_are_named_together(
    systems: Systems, lock_venvs: Callable[..., LockResult], index: Any
) -> None:
    """Backends that fail are all in one error, each with what it said."""
    for name in ("one", "two"):
        index.sdist(name, "1.0", backend="raise SystemExit('no such thing')\n")

    with pytest.raises(WheelBuildFailed, match="2 sources do not say what they need") as caught:
        lock_venvs([OLD], "one", "two")

    told = "\n".join(map(str, caught.value.problems))
    assert "one 1.0 for debian-12-x86_64" in told
    assert "two 1.0 for debian-12-x86_64" in told
    assert "no such thing" in told


def test_sources_that_need_each_other_to_be_asked_are_refused(
    systems: Systems, lock_venvs: Callable[..., LockResult], index: Any
) -> None:
    """Two sources whose backends come from each other are an error that shows the way round, not an endless loop."""
    index.sdist("egg", "1.0", build=["hen"])
    index.sdist("hen", "1.0", build=["egg"])

    with pytest.raises((WheelBuildFailed, MetadataError, ResolutionFailed), match="needs itself") as caught:
        lock_venvs([OLD], "egg")

    assert "egg 1.0 → hen 1.0 → egg 1.0" in caught.value.message


def test_a_source_under_another_name_is_refused(
    systems: Systems, lock_venvs: Callable[..., LockResult], write_source: Callable[..., Path], tmp_path: Path
) -> None:
    """A directory that holds another package than the requirement says is an error with both names."""
    write_source(tmp_path / "tree", "other", "1.0")

    with pytest.raises(MetadataError, match="app is to come from says that it is other"):
        lock_venvs([OLD], "app @ ./tree")


@pytest.mark.network
def test_a_source_that_needs_a_library_to_be_asked(
    systems: Systems, lock_venvs: Callable[..., LockResult], tmp_path: Path
) -> None:
    """systemd-python, whose setup.py asks pkg-config, is locked where the target's system has the library."""
    systems.files = {"libsystemd.pc": PKG_CONFIG}

    found = lock_venvs([OLD], "systemd-python==235", indexes=None).lock

    (package,) = found.venv("web", OLD).packages
    assert (package.name, package.version, package.kind) == ("systemd-python", "235", "sdist")
    assert {one.name for one in found.build("systemd-python", "235", OLD).packages} >= {"setuptools"}


@pytest.mark.network
@pytest.mark.skipif(
    subprocess.run(["pkg-config", "--exists", "libsystemd"], check=False).returncode == 0, reason="it is here"
)
def test_a_library_that_a_system_lacks_is_named(systems: Systems, lock_venvs: Callable[..., LockResult]) -> None:
    """Without the library the lock fails with what pkg-config said and what to do."""
    with pytest.raises(WheelBuildFailed, match="libsystemd was not found") as caught:
        lock_venvs([OLD], "systemd-python==235", indexes=None)

    assert "distro_packages.build" in caught.value.hint


def meta(*requires: str, python: str = "", extras: tuple[str, ...] = ()) -> CoreMeta:
    return CoreMeta(version="1.0", requires_dist=requires, requires_python=python, provides_extra=extras)


def test_equal_answers_are_one() -> None:
    """Systems that say the same give just that, without a note."""
    told = [(known_target(name), meta("lib>=1", python=">=3.9", extras=("x",))) for name in (OLD, ARM)]

    found = joined("app", "1.0", told)

    assert (found.requires_dist, found.requires_python, found.provides_extra) == (("lib>=1",), ">=3.9", ("x",))
    assert found.note == ""


def test_different_answers_are_bound_to_their_systems() -> None:
    """A requirement of some systems carries their marker too; a Python that differs is left to the walk."""
    told = [
        (known_target(OLD), meta("lib", "more>1; extra == 'x'", python=">=3.9")),
        (known_target(ARM), meta("lib", python=">=3.10")),
    ]

    found = joined("app", "1.0", told)

    assert found.requires_dist[0] == "lib"
    assert found.requires_dist[1].startswith('more>1; extra == "x" and ')
    assert 'platform_machine == "x86_64"' in found.requires_dist[1]
    assert found.requires_python == ""
    assert found.note == f"app 1.0 does not require the same everywhere: more on {OLD} only"


def test_a_long_note_is_cut() -> None:
    """A source that requires quite other things elsewhere does not fill the screen."""
    told = [(known_target(OLD), meta(*(f"lib{number}" for number in range(6)))), (known_target(ARM), meta())]

    assert joined("app", "1.0", told).note.endswith(" and 2 more")

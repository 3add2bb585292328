"""When a lock is resolved anew, when only its number rises, and what of the manifest reaches the builds."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bundler.errors import FetchFailed, LockOutdated, ManifestError, MetadataError, ResolutionFailed
from bundler.events import Event, Noted, Warned
from bundler.model.lock import Artifact, GitSource, LayerRecord, Lock
from bundler.store.cas import Store
from bundler.workflows.lock import LockRequest, LockResult, lock
from bundler.workflows.lock_inputs import remote_changes
from bundler.workflows.lock_services import lock_services
from bundler.workflows.systems import systems_of

Write = Callable[..., Path]
TARGET = "debian-12-x86_64"


class Desk:
    """A manifest in a directory of its own, and what was said while it was locked."""

    def __init__(self, root: Path, index: Any) -> None:
        self.root, self.index = root, index
        self.events: list[Event] = []

    def write(self, venvs: dict[str, Any], **more: Any) -> Path:
        document = {
            "schema": 1,
            "seed_packages": [],
            "release": {"name": "test", "version": "1"},
            "targets": [TARGET],
            "default_packages": [],
            "indexes": [{"name": "local", "url": self.index.url}],
            "venvs": {name: {"path": f"/opt/{name}", **venv} for name, venv in venvs.items()},
            **more,
        }
        path = self.root / "release.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def lock(self, **options: Any) -> LockResult:
        return lock(LockRequest(manifest=self.root / "release.yaml", store=self.store, **options), self.events.append)

    @property
    def store(self) -> Store:
        return Store(self.root / "store")

    def said(self, kind: type[Noted | Warned]) -> list[str]:
        return [event.message for event in self.events if isinstance(event, kind)]


@pytest.fixture
def desk(tmp_path: Path, index: Any) -> Desk:
    return Desk(tmp_path, index)


def build(found: Lock, package: str, version: str = "1.0") -> dict[str, str]:
    return {one.name: one.version for one in found.build(package, version, TARGET).packages}


def origin(found: Lock, name: str, venv: str = "web") -> Any:
    return next(one.origin for one in found.venv(venv, TARGET).packages if one.name == name)


def test_comments_change_nothing(desk: Desk, index: Any) -> None:
    """A comment or another layout of the same manifest leaves the lock as it is."""
    index.wheel("app", "1.0")
    path = desk.write({"web": {"packages": ["app"]}})
    first = desk.lock()
    path.write_text("# a comment\n" + path.read_text().replace("version: '1'", 'version: "1"'))

    second = desk.lock(locked=True)

    assert second.reused
    assert second.lock == first.lock


@pytest.mark.parametrize(
    ("venv", "more"),
    [
        ({"smoke": [{"run": "true"}]}, {}),
        ({"path": "/opt/elsewhere"}, {}),
        ({}, {"proof": {"allow": [{"entry_point": "x", "reason": "no need"}]}}),
        ({"distro_packages": {"runtime": ["libc6"]}, "targets": {"debian-12": {"system_packages": ["dpkg"]}}}, {}),
        ({}, {"release": {"name": "test", "version": "2"}}),
    ],
)
def test_what_only_the_bundle_shows_takes_a_new_sequence_without_resolving(
    desk: Desk, index: Any, venv: dict[str, Any], more: dict[str, Any]
) -> None:
    """A bundle that says something else needs another sequence; no resolver runs for it, and --locked refuses."""
    index.wheel("app", "1.0")
    desk.write({"web": {"packages": ["app"]}})
    first = desk.lock().lock
    index.wheel("app", "2.0")
    desk.write({"web": {"packages": ["app"], **venv}}, **more)
    with pytest.raises(LockOutdated):
        desk.lock(locked=True)

    second = desk.lock()

    assert (second.reused, second.lock.venvs) == (False, first.venvs)
    assert second.lock.sequence > first.sequence
    assert second.lock.inputs == first.inputs
    assert desk.lock(locked=True).lock == second.lock


def test_a_sequence_that_falls_is_warned_of(desk: Desk, index: Any) -> None:
    """A manifest's own sequence is taken, with a warning where sites would refuse it."""
    index.wheel("app", "1.0")
    for sequence in (5, 4):
        release = {"name": "test", "version": "1", "sequence": sequence}
        desk.write({"web": {"packages": ["app"]}}, release=release)
        found = desk.lock()

    assert found.lock.sequence == 4
    assert desk.said(Warned) == ["release.sequence 4 is lower than that of the last lock, 5"]


def test_what_only_schedules_a_build_is_in_no_bundle(desk: Desk, index: Any) -> None:
    """Memory and processors of a build leave the lock as it is."""
    index.wheel("app", "1.0")
    desk.write({"web": {"packages": ["app"]}}, build={"packages": {"app": {"env": {"A": "b"}}}})
    desk.lock()
    more = {"env": {"A": "b"}, "memory": 4096, "cpus": 2}
    desk.write({"web": {"packages": ["app"]}}, build={"packages": {"app": more}})

    assert desk.lock().reused


def test_a_manifest_without_any_venv_is_refused(desk: Desk) -> None:
    """Venvs that every target skips make no lock."""
    desk.write({"web": {"packages": ["app"], "targets": {"debian": {"skip": True}}}})

    with pytest.raises(ManifestError, match="no venv"):
        desk.lock()


def test_missing_local_sources_are_named_together(desk: Desk) -> None:
    """Paths that lead nowhere are all named before anything is resolved."""
    desk.write(
        {"web": {"packages": ["app @ ./app"], "build_requirements": ["tool @ ./tool"]}},
        build={"packages": {"x": {"requires": ["other @ ./other"]}}},
    )

    with pytest.raises(FetchFailed) as caught:
        desk.lock()

    said = [problem.where for problem in caught.value.problems]
    assert said == ["build.packages.x", "web", "web"]


def test_a_lock_with_local_files_fits_every_checkout(desk: Desk, index: Any, indexes: Any) -> None:
    """Wheels of relative folders and paths are locked relative to the manifest, and are found after a move."""
    folder = desk.root / "my wheels"
    folder.mkdir()
    shutil.copy(indexes.make("one").wheel("app", "1.0", ["part"]), folder)
    shutil.copy(indexes.make("two").wheel("part", "1.0"), desk.root)
    path = desk.write(
        {"web": {"packages": ["app", "part @ ./part-1.0-py3-none-any.whl"]}}, wheel_folders=["my wheels"]
    )
    desk.lock()
    shutil.move(desk.root / "release.lock", desk.root / "moved" / "release.lock")
    for name in ("my wheels", "part-1.0-py3-none-any.whl", path.name):
        shutil.move(desk.root / name, desk.root / "moved" / name)
    desk.root = desk.root / "moved"

    found = desk.lock()

    app, part = origin(found.lock, "app"), origin(found.lock, "part")
    assert found.reused
    assert (app.url, part.url) == ("file:my%20wheels/app-1.0-py3-none-any.whl", "file:part-1.0-py3-none-any.whl")
    assert str(desk.root.parent) not in "".join(one.read_text() for one in found.lock_dir.rglob("*.toml"))
    systems = systems_of(found.loaded, found.plans, desk.store)
    with lock_services(found.loaded, _none(), desk.store, desk.events.append, systems) as services:
        services.fetch([one for one in (app, part) if isinstance(one, Artifact)])
    assert desk.store.path(app.sha256).is_file()


def _none() -> Any:
    return None


def test_a_changed_local_file_is_noticed(desk: Desk, index: Any) -> None:
    """A wheel that a requirement names by its path is part of the inputs by its content."""
    wheel = index.wheel("app", "1.0")
    shutil.copy(wheel, desk.root)
    desk.write({"web": {"packages": [f"app @ ./{wheel.name}"]}})
    first = desk.lock()
    index.wheel("dep", "1.0")
    shutil.copy(index.wheel("app", "1.0", ["dep"]), desk.root)

    second = desk.lock()

    assert [one.name for one in first.lock.venv("web", TARGET).packages] == ["app"]
    assert [one.name for one in second.lock.venv("web", TARGET).packages] == ["app", "dep"]


def test_build_settings_are_found_by_any_spelling_of_the_name(desk: Desk, index: Any) -> None:
    """A package's settings hold however its name is written, paths among its build requirements included."""
    index.sdist("my_app", "1.0")
    index.wheel("tool", "1.0")
    desk.write({"web": {"packages": ["my-app"]}}, build={"packages": {"My.App": {"requires": ["tool"]}}})

    assert build(desk.lock().lock, "my-app") == {"tool": "1.0"}


@pytest.mark.parametrize("place", ["venv", "package"])
def test_a_build_requirement_may_be_a_source_tree(desk: Desk, index: Any, write_source: Write, place: str) -> None:
    """A path among build requirements is relative to the manifest."""
    index.sdist("app", "1.0")
    write_source(desk.root / "tool", "tool", "0.5")
    lines = ["tool @ ./tool"]
    venv = {"packages": ["app"], **({"build_requirements": lines} if place == "venv" else {})}
    packages = {"app": {"requires": lines}} if place == "package" else {}
    desk.write({"web": venv}, build={"packages": packages})

    assert build(desk.lock().lock, "app") == {"tool": "0.5"}


def test_a_package_of_two_groups_is_built_once_with_the_requirements_of_both(desk: Desk, index: Any) -> None:
    """Venvs with other layers share a package's one build; where they disagree, a warning says who lost."""
    index.sdist("app", "1.0", build=["tool"])
    index.wheel("tool", "1.0")
    index.wheel("tool", "2.0")
    index.wheel("more", "1.0")
    own = {"layers": [{"name": "own", "lines": ["tool<2"]}]}
    desk.write(
        {
            "web": {"packages": ["app"]},
            "api": {"packages": ["app"], "constraints": own, "build_requirements": ["more"]},
        }
    )

    found = desk.lock().lock

    warning = f"app 1.0 is built once on {TARGET}, for api too with tool 2.0 instead of 1.0"
    assert build(found, "app") == {"more": "1.0", "tool": "2.0"}
    assert desk.said(Warned) == list(found.warnings) == [warning]


def test_sources_of_all_groups_that_cannot_be_locked_are_named_together(desk: Desk, index: Any) -> None:
    """A build that cannot be locked in one group of venvs does not hide one in another."""
    index.sdist("one", "1.0", build=["absent-one"], static=True)
    index.sdist("two", "1.0", build=["absent-two"], static=True)
    own = {"layers": [{"name": "own", "lines": ["tool<2"]}]}
    desk.write({"web": {"packages": ["one"]}, "api": {"packages": ["two"], "constraints": own}})

    with pytest.raises(ResolutionFailed) as caught:
        desk.lock()

    told = "\n".join(map(str, caught.value.problems))
    assert "absent-one is in no index" in told
    assert "absent-two is in no index" in told


def test_a_build_that_does_not_resolve_names_the_build_constraint(desk: Desk, index: Any) -> None:
    """What stands against a source's own build requirement is build.constraints, not the layer that lost to it."""
    index.sdist("app", "1.0", build=["tool"])
    index.wheel("tool", "1.0")
    layers = [{"name": "upper", "lines": ["tool==1.0"]}]
    desk.write({"web": {"packages": ["app"]}}, constraints=layers, build={"constraints": ["tool==7"]})

    with pytest.raises(MetadataError, match=r"asking app 1.0 what it needs for debian-12-x86_64") as caught:
        desk.lock()

    told = list(map(str, caught.value.problems))
    assert "constraint layer build build.constraints:1: says tool==7" in told
    assert not any("says tool==1.0" in line and "lost" not in line for line in told)


def test_submodules_are_asked_for_by_the_package(
    desk: Desk, index: Any, write_source: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """build.packages.NAME.submodules reaches the lock, from where the checkout takes it."""
    for number, name in enumerate(("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0")):
        monkeypatch.setenv(name, ("1", "protocol.file.allow", "always")[number])
    inner, outer = desk.root / "inner", desk.root / "outer"
    write_source(inner, "inner", "1.0")
    commit(inner)
    write_source(outer, "app", "1.0")
    commit(outer)
    git(outer, "submodule", "--quiet", "add", inner.as_uri(), "vendored")
    sha = commit(outer)
    desk.write(
        {"web": {"packages": [f"app @ git+{outer.as_uri()}@{sha}"]}},
        build={"packages": {"App": {"submodules": True}}},
    )

    found = desk.lock()

    expected = GitSource(url=outer.as_uri(), commit=sha, requested_revision=sha, submodules=True)
    assert origin(found.lock, "app") == expected
    assert origin(desk.lock().lock, "app") == expected


def git(directory: Path, *arguments: str) -> str:
    argv = ["git", "-c", "user.name=t", "-c", "user.email=t@host.example", *arguments]
    done = subprocess.run(argv, cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(directory: Path) -> str:
    git(directory, "init", "--quiet")
    git(directory, "add", ".")
    git(directory, "commit", "--quiet", "--message", "source")
    return git(directory, "rev-parse", "HEAD")


def test_only_remote_layers_are_said_to_have_changed() -> None:
    """Lines and files are the person's own; an address and a branch that moved are news."""
    old, new = "0" * 64, "1" * 64
    places = ["manifest", "pins.txt", "https://files.example/upper.txt"]
    before = [LayerRecord(name=place, location=place, sha256=old) for place in places]
    after = [LayerRecord(name=place, location=place, sha256=new) for place in places]
    before.append(LayerRecord(name="git", location=f"https://git.example/r@{'a' * 40}:u.txt", sha256=old))
    after.append(LayerRecord(name="git", location=f"https://git.example/r@{'b' * 40}:u.txt", sha256=new))

    assert remote_changes(before, after) == (places[2], f"https://git.example/r@{'b' * 40}:u.txt")
    assert remote_changes(before, before) == ()

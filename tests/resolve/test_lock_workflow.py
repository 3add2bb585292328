"""Locking a manifest from end to end, on a local index."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bundler.cli.commands.lock import command
from bundler.cli.context import Output
from bundler.errors import LockOutdated, ResolutionFailed, UsageError
from bundler.events import Event, Warned
from bundler.files import sha256_of
from bundler.model.lock import DirectorySource, GitSource, Lock
from bundler.resolve.units import Unit
from bundler.store.cas import Store
from bundler.workflows.lock import LockRequest, LockResult, lock, numbered
from bundler.workflows.lock_files import load_lock

Write = Callable[..., Path]


class Bench:
    """A manifest in a directory of its own, and the store and lock that go with it."""

    def __init__(self, root: Path, index: Any) -> None:
        self.root = root
        self.index = index
        self.store = Store(root / "store")
        self.events: list[Event] = []

    def manifest(self, venvs: dict[str, Any], **more: Any) -> Path:
        described = {name: venv if isinstance(venv, dict) else {"packages": venv} for name, venv in venvs.items()}
        document = {
            "schema": 1,
            "seed_packages": [],
            "release": {"name": "test", "version": "1"},
            "targets": ["debian-12-x86_64"],
            "default_packages": [],
            "indexes": [{"name": "local", "url": self.index.url}],
            "venvs": {name: {"path": f"/opt/{name}", **venv} for name, venv in described.items()},
            **more,
        }
        path = self.root / "release.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    def lock(self, **options: Any) -> LockResult:
        request = LockRequest(manifest=self.root / "release.yaml", store=self.store, **options)
        return lock(request, self.events.append)

    @property
    def warnings(self) -> str:
        return "\n".join(event.message for event in self.events if isinstance(event, Warned))


def versions(found: Lock, venv: str, target: str = "debian-12-x86_64") -> dict[str, str]:
    return {one.name: one.version for one in found.venv(venv, target).packages}


@pytest.fixture
def bench(tmp_path: Path, index: Any) -> Bench:
    return Bench(tmp_path, index)


def test_venvs_are_locked_to_their_own_subsets(bench: Bench, index: Any) -> None:
    """Venvs that are resolved together share versions, and each holds only what it needs."""
    index.wheel("one", "1.0", ["shared"])
    index.wheel("two", "1.0", ["shared<2"])
    index.wheel("shared", "1.0")
    index.wheel("shared", "2.0")
    bench.manifest({"first": ["one"], "second": ["two"]})

    found = bench.lock()

    assert versions(found.lock, "first") == {"one": "1.0", "shared": "1.0"}
    assert versions(found.lock, "second") == {"two": "1.0", "shared": "1.0"}
    assert load_lock(found.lock_dir) == found.lock
    assert (found.lock_dir / "debian-12-x86_64" / "pylock.first.toml").is_file()


def test_each_target_has_its_own_subset(bench: Bench, index: Any) -> None:
    """Overrides and markers of a target show in its lock only."""
    index.wheel("app", "1.0", ["new ; python_version >= '3.13'"])
    index.wheel("new", "1.0")
    index.wheel("extra", "1.0")
    targets = {"debian-13-aarch64": {"packages": ["extra"]}}
    bench.manifest(
        {"web": {"packages": ["app"], "targets": targets}}, targets=["debian-12-x86_64", "debian-13-aarch64"]
    )

    found = bench.lock()

    assert versions(found.lock, "web") == {"app": "1.0"}
    assert set(versions(found.lock, "web", "debian-13-aarch64")) == {"app", "new", "extra"}


def test_a_lock_whose_inputs_are_the_same_is_used_as_it_is(bench: Bench, index: Any) -> None:
    """A second run resolves nothing: a newer version on the index does not show, nor is a file touched."""
    index.wheel("app", "1.0")
    bench.manifest({"web": ["app"]})
    first = bench.lock()
    stamp = (first.lock_dir / "lock.json").stat().st_mtime_ns
    index.wheel("app", "2.0")

    second = bench.lock()

    assert (first.reused, second.reused) == (False, True)
    assert second.lock == first.lock
    assert (first.lock_dir / "lock.json").stat().st_mtime_ns == stamp


def test_reuse_needs_no_network(bench: Bench, index: Any, indexes: Any) -> None:
    """A lock with a layer at an address is used again although nothing answers there any more."""
    index.wheel("app", "1.0")
    index.wheel("app", "2.0")
    layer = index.root / "upper.txt"
    layer.write_text("app===1.0\n")
    url = index.url.replace("/simple", "/upper.txt")
    bench.manifest({"web": ["app"]}, constraints=[{"name": "upper", "url": url}])
    first = bench.lock()
    layer.unlink()

    second = bench.lock()

    assert versions(first.lock, "web") == {"app": "1.0"}
    assert [record.location for record in first.lock.layers] == [url]
    assert second.reused


def test_a_changed_constraint_file_is_noticed(bench: Bench, index: Any) -> None:
    """A local layer is part of the inputs by its content."""
    index.wheel("app", "1.0")
    index.wheel("app", "2.0")
    pins = bench.root / "pins.txt"
    pins.write_text("app==1.0\n")
    bench.manifest({"web": ["app"]}, constraints=[{"name": "pins", "file": "pins.txt"}])
    bench.lock()
    pins.write_text("app==2.0\n")

    with pytest.raises(LockOutdated) as caught:
        bench.lock(locked=True)
    found = bench.lock()

    assert "pins.txt: its content changed" in str(caught.value.problems[0])
    assert versions(found.lock, "web") == {"app": "2.0"}


@pytest.mark.slow
def test_versions_are_kept_when_something_else_changes(bench: Bench, index: Any) -> None:
    """A new package does not move the others; --upgrade-package moves one, --upgrade all."""
    for name in ("one", "two", "three"):
        index.wheel(name, "1.0")
    bench.manifest({"web": ["one", "two"]})
    bench.lock()
    for name in ("one", "two", "three"):
        index.wheel(name, "2.0")
    bench.manifest({"web": ["one", "two", "three"]})

    kept = bench.lock()
    moved = bench.lock(upgrade_packages=("One",))
    renewed = bench.lock(upgrade=True)

    assert versions(kept.lock, "web") == {"one": "1.0", "two": "1.0", "three": "2.0"}
    assert versions(moved.lock, "web") == {"one": "2.0", "two": "1.0", "three": "2.0"}
    assert versions(renewed.lock, "web") == {"one": "2.0", "two": "2.0", "three": "2.0"}


@pytest.mark.slow
def test_the_sequence_rises_with_the_content_only(bench: Bench, index: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same content keeps sequence and time; other content gets a higher sequence, even with an older clock."""
    index.wheel("app", "1.0")
    bench.manifest({"web": ["app"]})
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000")
    first = bench.lock()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "2000")
    bench.manifest({"web": ["app"]}, **{"x-anchors": "a comment of sorts"})
    same = bench.lock()
    index.wheel("app", "2.0")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "500")
    other = bench.lock(upgrade=True)

    assert (first.lock.sequence, first.lock.created) == (1000, 1000)
    assert (same.lock.sequence, same.lock.created) == (1000, 1000)
    assert same.reused
    assert other.lock.sequence == 1001


def test_a_sequence_in_the_manifest_is_taken(bench: Bench, index: Any) -> None:
    """A release that names its sequence has it."""
    index.wheel("app", "1.0")
    bench.manifest({"web": ["app"]}, release={"name": "test", "version": "1", "sequence": 7})

    assert bench.lock().lock.sequence == 7


def test_locked_without_a_lock_is_refused(bench: Bench, index: Any) -> None:
    """--locked never resolves, also where there is nothing yet; and it contradicts --upgrade."""
    bench.manifest({"web": ["app"]})

    with pytest.raises(LockOutdated, match="no lock"):
        bench.lock(locked=True)
    with pytest.raises(UsageError):
        bench.lock(locked=True, upgrade=True)
    assert not (bench.root / "release.lock").exists()


def test_locked_names_what_changed(bench: Bench, index: Any) -> None:
    """Targets, venvs and packages that came or went are named."""
    index.wheel("app", "1.0")
    bench.manifest({"web": ["app"], "old": ["app"]})
    bench.lock()
    bench.manifest({"web": ["other"], "new": ["app"]}, targets=["debian-12-x86_64", "debian-13-x86_64"])

    with pytest.raises(LockOutdated) as caught:
        bench.lock(locked=True)

    text = "\n".join(map(str, caught.value.problems))
    assert "targets: debian-13-x86_64 is new" in text
    assert "venvs: new is new" in text
    assert "venvs: old is gone" in text
    assert "venvs.web.packages on debian-12-x86_64: other is new" in text


def test_an_unknown_package_cannot_be_upgraded(bench: Bench, index: Any) -> None:
    """A name that is in no venv is refused before anything is resolved."""
    index.wheel("app", "1.0")
    bench.manifest({"web": ["app"]})
    bench.lock()

    with pytest.raises(UsageError) as caught:
        bench.lock(upgrade_packages=("aap",))

    assert "aap" in str(caught.value.problems[0])


def test_venvs_that_cannot_live_together_are_resolved_apart(bench: Bench, index: Any) -> None:
    """Two versions of one package in two venvs are locked, with a warning that says why they are apart."""
    index.wheel("app", "1.0")
    index.wheel("app", "2.0")
    bench.manifest({"old": ["app==1.0"], "new": ["app==2.0"]})

    found = bench.lock()

    assert versions(found.lock, "old") == {"app": "1.0"}
    assert versions(found.lock, "new") == {"app": "2.0"}
    assert bench.warnings.count("cannot share one environment") == 1
    assert "venv old: wants app==1.0" in "".join(found.lock.warnings)


def test_all_failing_venvs_are_explained_together(bench: Bench, index: Any) -> None:
    """Each venv that does not resolve is explained; those that do are not blamed, and no lock is written."""
    index.wheel("app", "1.0", ["lib>=2"])
    index.wheel("lib", "1.0")
    index.wheel("lib", "2.0")
    layers = [{"name": "pins", "lines": ["lib==1.0"]}]
    own = {"packages": ["missing"], "constraints": {"mode": "replace", "layers": []}}
    bench.manifest({"bad": ["app"], "good": ["lib"], "apart": own}, constraints=layers)

    with pytest.raises(ResolutionFailed) as caught:
        bench.lock()

    text = "\n".join((caught.value.message, *map(str, caught.value.problems)))
    assert "bad: no versions" in text
    assert "constraint layer pins manifest layer pins:1: says lib==1.0" in text
    assert "missing is in no index" in text
    assert "good: no versions" not in text
    assert not (bench.root / "release.lock").exists()


def test_everything_impossible_is_named_at_once(bench: Bench, index: Any) -> None:
    """Packages with no file for a target are all named, with the target, before a lock is written."""
    index.wheel("one", "1.0", tag="cp311-cp311-manylinux_2_99_x86_64")
    index.wheel("two", "1.0", tag="cp311-cp311-win_amd64")
    bench.manifest({"web": ["one", "two"]})

    with pytest.raises(ResolutionFailed) as caught:
        bench.lock()

    text = "\n".join(map(str, caught.value.problems))
    assert "one 1.0 on debian-12-x86_64" in text
    assert "two 1.0 on debian-12-x86_64" in text


@pytest.mark.slow
def test_build_requirements_are_locked_under_the_constraints(bench: Bench, index: Any) -> None:
    """Static and hook requirements, the manifest's own, and those of build requirements that must be built."""
    index.sdist("app", "1.0", ["lib"], build=["tool"], hook="hooked\n")
    index.sdist("hooked", "1.0", build=["tool"])
    for name in ("tool", "more", "venvs_own", "lib"):
        index.wheel(name, "1.0")
        index.wheel(name, "2.0")
    bench.manifest(
        {"web": {"packages": ["app"], "build_requirements": ["venvs_own"]}},
        targets=["auto"],
        constraints=[{"name": "pins", "lines": ["more==1.0", "tool==2.0"]}],
        build={"constraints": ["tool==1.0"], "packages": {"app": {"requires": ["more"]}}},
    )

    found = bench.lock()

    (target,) = found.lock.targets
    build = found.lock.build("app", "1.0", target)
    assert {one.name: one.version for one in build.packages} == {
        "tool": "1.0",
        "hooked": "1.0",
        "more": "1.0",
        "venvs-own": "2.0",
    }
    assert {one.name: one.version for one in found.lock.build("hooked", "1.0", target).packages} == {"tool": "1.0"}
    assert (found.lock_dir / target / "build" / "pylock.app.toml").is_file()
    assert found.coverage.open_rows[0].states == {target: "compile"}


def test_a_package_that_needs_itself_to_be_built_is_refused(bench: Bench, index: Any) -> None:
    """A circle of build requirements is an error that shows the way round."""
    index.sdist("egg", "1.0", build=["hen"], static=True)
    index.sdist("hen", "1.0", build=["egg"], static=True)
    bench.manifest({"web": ["egg"]}, targets=["auto"])

    with pytest.raises(ResolutionFailed, match=r"(egg|hen) 1.0 must be built, and needs itself"):
        bench.lock()


@pytest.mark.slow
def test_sources_are_locked_by_commit_and_by_digest(bench: Bench, index: Any, write_source: Write) -> None:
    """A branch becomes a commit, a directory gets a digest, and a change of the directory outdates the lock."""
    index.wheel("lib", "1.0")
    repository = write_source(bench.root / "repository", "gitted", "1.0", ["lib"])
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-qb", "main"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    tree = write_source(bench.root / "tree", "treed", "2.0", ["lib"])
    bench.manifest({"web": [f"gitted @ git+{repository.as_uri()}@main", "treed @ ./tree"]}, targets=["auto"])

    found = bench.lock()

    packages = {one.name: one for one in found.lock.venvs[0].packages}
    commit, directory = packages["gitted"].origin, packages["treed"].origin
    assert isinstance(commit, GitSource)
    assert (len(commit.commit), commit.requested_revision) == (40, "main")
    assert isinstance(directory, DirectorySource)
    assert (directory.path, packages["treed"].version) == ("tree", "2.0")
    (tree / "PROJECT").write_text("treed\n3.0\n")
    with pytest.raises(LockOutdated) as caught:
        bench.lock(locked=True)
    assert "treed: its source tree changed" in "\n".join(map(str, caught.value.problems))
    assert {one.version for one in bench.lock().lock.venvs[0].packages} == {"1.0", "3.0"}


def test_a_directory_that_is_no_lock_is_left_alone(bench: Bench, index: Any) -> None:
    """A lock directory that holds something else is refused, not emptied."""
    index.wheel("app", "1.0")
    bench.manifest({"web": ["app"]})
    mine = bench.root / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")

    with pytest.raises(UsageError, match="no lock"):
        bench.lock(lock_dir=mine)

    assert (mine / "thesis.txt").read_text() == "years of work"


def test_the_same_content_makes_the_same_files(bench: Bench, index: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two locks of one manifest are equal byte for byte at a fixed time."""
    index.wheel("app", "1.0", ["lib"])
    index.wheel("lib", "1.0")
    bench.manifest({"web": ["app"]})
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000")

    digests = []
    for name in ("a", "b"):
        found = bench.lock(lock_dir=bench.root / name)
        files = sorted(path for path in found.lock_dir.rglob("*") if path.is_file())
        digests.append([(path.relative_to(found.lock_dir), sha256_of(path)) for path in files])

    assert digests[0] == digests[1]


def test_requirements_of_some_targets_are_bound_to_them(bench: Bench, index: Any) -> None:
    """In a joint request a line that not all targets ask for carries the marker of those that do."""
    index.wheel("app", "1.0")
    index.wheel("extra", "1.0")
    targets = {"debian-13-aarch64": {"packages": ["extra"]}}
    bench.manifest(
        {"web": {"packages": ["app"], "targets": targets}}, targets=["debian-12-x86_64", "debian-13-aarch64"]
    )
    plans = bench.lock().plans

    lines = Unit(plans=plans, root=bench.root).requirements  # type: ignore[arg-type]

    assert lines[0] == "app"
    assert lines[1].startswith("extra; ")
    assert "aarch64" in lines[1]


def test_stock_pip_and_uv_install_from_the_source_lock(bench: Bench, index: Any, tmp_path: Path) -> None:
    """Pip and uv of the target's Python accept the lock and choose the same versions."""
    index.wheel("app", "1.0", ["lib"])
    index.wheel("lib", "1.0")
    bench.manifest({"web": ["app"]}, targets=["auto"])
    found = bench.lock()
    path = found.lock_dir / found.lock.targets[0] / "pylock.web.toml"
    report = tmp_path / "report.json"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        "/usr/bin/python3",
        "install",
        "--dry-run",
        "--break-system-packages",
    ]
    uv = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--python", "/usr/bin/python3", "--no-config"]

    done = subprocess.run(
        [*pip, "--ignore-installed", "--report", str(report), "-r", str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    other = subprocess.run(
        [*uv, "--target", str(tmp_path / "t"), "-r", str(path)], check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    names = {
        (one["metadata"]["name"], one["metadata"]["version"]) for one in json.loads(report.read_text())["install"]
    }
    assert names == {("app", "1.0"), ("lib", "1.0")}
    assert other.returncode == 0, other.stderr
    assert (tmp_path / "t" / "app-1.0.dist-info").is_dir()


def run_command(bench: Bench, capsys: pytest.CaptureFixture[str], *arguments: str, as_json: bool = False) -> str:
    output = Output(json=as_json, store_path=bench.root / "store")
    command.main([str(bench.root / "release.yaml"), *arguments], obj=output, standalone_mode=False)
    return capsys.readouterr().out


def test_the_command_shows_matrix_losers_and_differences(
    bench: Bench, index: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints what must be compiled, which constraints lost, and what changed since another lock."""
    index.wheel("app", "1.0")
    bench.manifest({"web": ["app"]})
    bench.lock(lock_dir=bench.root / "old.lock")
    index.wheel("app", "2.0")
    layers = [{"name": "pins", "lines": ["app==2.0"]}, {"name": "upper", "lines": ["app===1.0"]}]
    bench.manifest({"web": ["app"]}, constraints=layers)

    text = run_command(bench, capsys, "--diff", str(bench.root / "old.lock"))
    data = json.loads(run_command(bench, capsys, "--diff", str(bench.root / "old.lock"), as_json=True))

    assert "1 wheels" in text
    assert "app===1.0 (upper manifest layer upper:1) to app==2.0 (pins manifest layer pins:1)" in text
    assert "web on debian-12-x86_64" in text
    assert data["reused"]
    assert data["venvs"] == [{"venv": "web", "target": "debian-12-x86_64", "packages": {"app": "2.0"}}]
    assert data["diff"]["venvs"][0]["changes"] == [{"change": "changed", "name": "app", "old": "1.0", "new": "2.0"}]


def test_numbering_starts_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first lock has the time of locking as its sequence."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "42")
    fresh = Lock(name="a", version="1", sequence=0, created=0, inputs="", resolver="uv 1", targets=(), venvs=())

    first = numbered(fresh, None, None)

    assert (first.sequence, first.created) == (42, 42)
    assert numbered(fresh, first, None) == first
    assert numbered(replace(fresh, inputs="other"), first, None).sequence == 43
    assert numbered(replace(fresh, version="2"), first, None).sequence == 43
    assert numbered(replace(fresh, tool="another version of ours"), first, None).sequence == 43

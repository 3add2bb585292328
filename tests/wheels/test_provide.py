"""From a lock to checked wheels."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from packaging.utils import parse_wheel_filename

from bundler.buildenv.host import HostEnvironment
from bundler.errors import LockInvalid, WheelBuildFailed, WheelRefused
from bundler.events import Event, ItemFinished, StageFinished, Warned
from bundler.model.lock import Artifact, BuildLock, Lock, LockedPackage, VenvLock
from bundler.model.target import Target
from bundler.store.cas import Store
from bundler.wheels.provide import Provider, provide_wheels
from bundler.wheels.source import Sources

MakeSdist: TypeAlias = Callable[..., LockedPackage]
MakeWheel: TypeAlias = Callable[..., Path]


def locked(store: Store, path: Path, url: str = "") -> LockedPackage:
    """Put a wheel file into the store and return its locked package."""
    name, version, _, _ = parse_wheel_filename(path.name)
    digest = store.put_file(path).digest
    origin = Artifact(name=path.name, url=url or f"https://index.example/{path.name}", sha256=digest)
    return LockedPackage(name=name, version=str(version), kind="wheel", origin=origin)


def lock_of(
    target: Target, venvs: dict[str, Sequence[LockedPackage]], builds: dict[LockedPackage, Sequence[LockedPackage]]
) -> Lock:
    return Lock(
        name="release",
        version="1",
        sequence=1,
        created=1,
        inputs="",
        resolver="uv",
        targets=(target.name,),
        venvs=tuple(
            VenvLock(venv=name, target=target.name, packages=tuple(packages)) for name, packages in venvs.items()
        ),
        builds=tuple(
            BuildLock(package=package.name, version=package.version, target=target.name, packages=tuple(needs))
            for package, needs in builds.items()
        ),
    )


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def provider(store: Store, environment: HostEnvironment, target: Target, events: list[Event]) -> Provider:
    return Provider(
        store=store,
        sources=Sources(store=store, checkout=lambda *_: None, root=Path("/nowhere")),
        targets={target.name: target},
        environments={target.name: environment},
        emit=events.append,
    )


def test_venvs_share_fetched_and_built_wheels(
    store: Store,
    target: Target,
    provider: Provider,
    events: list[Event],
    make_sdist: MakeSdist,
    make_wheel: MakeWheel,
) -> None:
    """A package of two venvs is built once; wheels come in the lock's order; a second run reuses everything."""
    fetched, built = locked(store, make_wheel("fetched")), make_sdist("built")
    lock = lock_of(target, {"one": [built, fetched], "two": [built]}, {built: []})
    one, two = provide_wheels(lock, provider)

    assert [wheel.filename for wheel in one.wheels] == ["built-1.0-py3-none-any.whl", "fetched-1.0-py3-none-any.whl"]
    assert [wheel.built for wheel in one.wheels] == [True, False]
    assert two.wheels == one.wheels[:1]
    assert [event.note for event in events if isinstance(event, ItemFinished)] == [""]
    events.clear()
    assert provide_wheels(lock, provider) == (one, two)
    assert [(end.items, end.reused) for end in events if isinstance(end, StageFinished)] == [(1, 1)]


def test_everything_is_fetched_in_one_go(
    store: Store, target: Target, provider: Provider, make_sdist: MakeSdist, make_wheel: MakeWheel
) -> None:
    """Wheels, sdists and the wheels of build requirements are asked for together, each once."""
    tool, package = locked(store, make_wheel("tool")), make_sdist("built")
    calls: list[list[str]] = []

    def fetch(artifacts: Sequence[Artifact]) -> None:
        calls.append([artifact.name for artifact in artifacts])

    asking = replace(provider, fetch=fetch)
    provide_wheels(lock_of(target, {"one": [package], "two": [package]}, {package: [tool]}), asking)

    assert calls == [["built-1.0.tar.gz", "tool-1.0-py3-none-any.whl"]]


def test_a_build_requirement_that_must_be_built_comes_first(
    target: Target, provider: Provider, make_sdist: MakeSdist
) -> None:
    """An sdist that needs a module of another sdist finds it in its build venv."""
    helper = make_sdist("helper", files={"src/helper_module.py": b"VALUE = 'from helper'\n"})
    user = make_sdist("user", extra="import helper_module\nassert helper_module.VALUE == 'from helper'\n")
    (venv,) = provide_wheels(lock_of(target, {"one": [user]}, {user: [helper], helper: []}), provider)

    assert [wheel.name for wheel in venv.wheels] == ["user"]


def test_every_failure_is_reported_and_the_rest_is_built(
    target: Target, provider: Provider, store: Store, make_sdist: MakeSdist, events: list[Event]
) -> None:
    """Two builds fail, one is given up because of them, one succeeds and is reused by the next run.

    Each failure ends with a line of its own that says where log and tree are; each build that began ends.
    """
    bad = make_sdist("bad", extra="raise ValueError('first reason')")
    worse = make_sdist("worse", extra="raise ValueError('second reason')")
    good, waiting = make_sdist("good"), make_sdist("waiting")
    builds: dict[LockedPackage, Sequence[LockedPackage]] = {bad: [], worse: [], good: [], waiting: [bad]}
    with pytest.raises(WheelBuildFailed, match="2 builds failed") as caught:
        provide_wheels(lock_of(target, {"one": list(builds)}, builds), provider)

    text = "\n".join(map(str, caught.value.problems))
    assert "first reason" in text
    assert "second reason" in text
    assert f"waiting 1.0 {target.name}: not built: it needs bad 1.0" in text
    assert len(re.findall(r"^  log: \S+; tree: \S+$", text, re.MULTILINE)) == 2
    ended = {event.item: event.note for event in events if isinstance(event, ItemFinished)}
    assert ended == {"bad 1.0": "failed", "worse 1.0": "failed", "good 1.0": ""}
    (venv,) = provide_wheels(lock_of(target, {"one": [good]}, {good: []}), provider)
    assert venv.wheels[0].name == "good"


def test_bad_fetched_wheels_are_refused_together(
    store: Store, target: Target, provider: Provider, make_wheel: MakeWheel
) -> None:
    """Wheels that do not pass are all named, before anything is built."""

    def spoil(files: dict[str, bytes]) -> None:
        files["extra.py"] = b""

    packages = [locked(store, make_wheel(name, change=spoil)) for name in ("first", "second")]
    with pytest.raises(WheelRefused, match="2 wheels are refused") as caught:
        provide_wheels(lock_of(target, {"one": packages}, {}), provider)

    assert [str(problem) for problem in caught.value.problems] == [
        "first-1.0-py3-none-any.whl: extra.py: is not in RECORD",
        "second-1.0-py3-none-any.whl: extra.py: is not in RECORD",
    ]


def test_a_package_without_locked_build_requirements_is_an_incomplete_lock(
    target: Target, provider: Provider, make_sdist: MakeSdist
) -> None:
    """Nothing is guessed: the lock must say what the build venv holds."""
    with pytest.raises(LockInvalid, match="incomplete") as caught:
        provide_wheels(lock_of(target, {"one": [make_sdist()]}, {}), provider)

    assert str(caught.value.problems[0]) == f"demo 1.0 for {target.name}: has no locked build requirements"


def test_builds_without_isolation_are_announced(
    store: Store, target: Target, provider: Provider, events: list[Event], make_sdist: MakeSdist
) -> None:
    """Where bubblewrap is absent the user is told what was open, once, and only if something was built."""
    open_environment = HostEnvironment(store.tmp, target=target, isolate=False)
    plain = replace(provider, environments={target.name: open_environment})
    package = make_sdist()
    lock = lock_of(target, {"one": [package]}, {package: []})
    provide_wheels(lock, plain)
    provide_wheels(lock, plain)

    warnings = [event.message for event in events if isinstance(event, Warned)]
    assert len(warnings) == 1
    assert "network" in warnings[0]

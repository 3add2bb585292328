"""Builds for several targets by any number of workers: who is built, in what order, and that bytes do not care."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import pytest

from bundler.buildenv.host import HostEnvironment
from bundler.buildenv.port import BuildEnvironment, EnvironmentSpec
from bundler.errors import BuildError, WheelBuildFailed
from bundler.events import Event, ItemFinished, StageFinished
from bundler.model.lock import Artifact, LockedPackage
from bundler.model.manifest import Build
from bundler.model.target import Target
from bundler.model.wheel import Wheel
from bundler.store.cas import Store
from bundler.wheels.build import BuildRequest, duration_key, recall_wheel, remember_wheel
from bundler.wheels.builds import build_all
from bundler.wheels.costs import tasks
from bundler.wheels.executor import BuildJob, Built, job_line, outcome_line, parse_job, parse_outcome
from bundler.wheels.needed import Job, wheel_key
from bundler.wheels.schedule import Schedule
from bundler.wheels.source import Sources
from bundler.wheels.worker import perform
from bundler.wheels.workshop import Workshop

MakeSdist: TypeAlias = Callable[..., LockedPackage]
MakeWheel: TypeAlias = Callable[..., Path]


class Emulated(HostEnvironment):
    """This host, said to be slow."""

    @property
    def spec(self) -> EnvironmentSpec:
        return replace(super().spec, emulated=True)


@dataclass
class Here:
    """An executor that carries out jobs in this process, from their JSON alone; it records their targets."""

    targets: list[str] = field(default_factory=list)

    def run(self, job: BuildJob) -> Built:
        self.targets.append(job.request.target.name)
        return parse_outcome(outcome_line(perform(parse_job(job_line(job))))).result()

    def close(self) -> None:
        pass


class Site:
    """Two systems, and a third one whose programs are emulated; all of them are this host, under names of theirs."""

    def __init__(self, store: Store, own: Target) -> None:
        self.store = store
        self.executor = Here()
        self.events: list[Event] = []
        self.targets = {
            name: replace(own, name=name, distro="debian", version=version)
            for name, version in (("one-12", "12"), ("two-13", "13"), ("far-12", "12"))
        }
        self.environments: dict[str, BuildEnvironment] = {
            name: (Emulated if name == "far-12" else HostEnvironment)(store.tmp, target=target)
            for name, target in self.targets.items()
        }
        self.workshop = Workshop(
            store=store,
            sources=Sources(store=store, checkout=lambda *_: None, root=Path("/nowhere")),
            environments=self.environments,
            emit=self.events.append,
            slots=2,
            executor=lambda _slots: self.executor,
        )

    def jobs(self, package: LockedPackage, tools: dict[str, LockedPackage] | None = None) -> dict[str, Job]:
        """Return the jobs that build ``package`` for every target, with a tool of each target's own."""
        return {
            wheel_key(package, name): Job(
                package=package, target=target, requirements=(tools[name],) if tools else ()
            )
            for name, target in self.targets.items()
        }

    @property
    def notes(self) -> dict[str, str]:
        return {event.item: event.note for event in self.events if isinstance(event, ItemFinished)}


@pytest.fixture
def site(store: Store, target: Target) -> Site:
    return Site(store, target)


def digests(wheels: dict[str, Wheel]) -> set[str]:
    return {wheel.digest for wheel in wheels.values()}


def tools_of(site: Site, make_wheel: MakeWheel, values: dict[str, str]) -> dict[str, LockedPackage]:
    """Return, for each target, the wheel of a tool that gives another value there."""
    found = {}
    for name, value in values.items():
        path = make_wheel("flavour", files={"flavour/value.py": value.encode()})
        origin = Artifact(name=path.name, url="https://index.example/x", sha256=site.store.put_file(path).digest)
        found[name] = LockedPackage(name="flavour", version="1.0", kind="wheel", origin=origin)
    return found


def wheels_of(tools: dict[str, LockedPackage]) -> dict[str, Wheel]:
    found = {}
    for name, package in tools.items():
        assert isinstance(package.origin, Artifact)
        found[wheel_key(package, name)] = Wheel(
            name=package.name,
            version=package.version,
            filename=package.origin.name,
            digest=package.origin.sha256,
            size=1,
            kind="wheel",
            origin=package.origin,
        )
    return found


#: As ovs does it: the wheel is tagged ``any`` and holds what its build found.
FLAVOUR = """
from flavour import value
def files():
    return {"found.txt": repr(value.FOUND).encode()}
"""


def test_what_two_systems_agree_on_is_not_built_under_emulation(site: Site, make_sdist: MakeSdist) -> None:
    """The emulated target comes last, gets the very wheel, says whose it is, and has it remembered as its own."""
    package = make_sdist()
    jobs = site.jobs(package)
    wheels = build_all(jobs, {}, site.workshop)
    far = site.targets["far-12"]
    known = recall_wheel(BuildRequest(package=package, target=far), site.environments["far-12"], site.store)

    assert sorted(site.executor.targets) == ["one-12", "two-13"]
    assert len(digests(wheels)) == 1
    assert site.notes == {
        "demo 1.0 for one-12": "",
        "demo 1.0 for two-13": "",
        "demo 1.0 for far-12": "same as built for one-12 and two-13",
    }
    assert known == wheels[wheel_key(package, "far-12")]
    assert [(end.items, end.reused) for end in site.events if isinstance(end, StageFinished)] == [(3, 1)]


def test_an_any_wheel_on_which_two_systems_differ_is_built_everywhere(
    site: Site, make_sdist: MakeSdist, make_wheel: MakeWheel
) -> None:
    """Its name says any, its bytes say otherwise: no target gets another one's."""
    tools = tools_of(site, make_wheel, {name: f"FOUND = '{name}'" for name in site.targets})
    package = make_sdist(extra=FLAVOUR)
    wheels = build_all(site.jobs(package, tools), wheels_of(tools), site.workshop)

    assert sorted(site.executor.targets) == ["far-12", "one-12", "two-13"]
    assert len(digests(wheels)) == 3
    assert set(site.notes.values()) == {""}


@pytest.mark.native
@pytest.mark.slow
def test_compiled_code_is_built_for_every_target(site: Site, make_extension: MakeSdist) -> None:
    """Two systems may well compile the same bytes: they prove nothing for a third one."""
    wheels = build_all(site.jobs(make_extension("spam")), {}, site.workshop)

    assert sorted(site.executor.targets) == ["far-12", "one-12", "two-13"]
    assert {wheel.filename.endswith("-none-any.whl") for wheel in wheels.values()} == {False}


def test_a_failed_native_build_does_not_keep_the_emulated_one_from_its_own(
    site: Site, make_sdist: MakeSdist, make_wheel: MakeWheel
) -> None:
    """It waits for the native builds but does not need them: it is built, and the failure reported alone."""
    values = {"one-12": "FOUND = 1", "two-13": "raise ValueError('not here')", "far-12": "FOUND = 1"}
    tools = tools_of(site, make_wheel, values)
    with pytest.raises(WheelBuildFailed, match=r"two-13: build_wheel failed(.|\n)*not here"):
        build_all(site.jobs(make_sdist(extra=FLAVOUR), tools), wheels_of(tools), site.workshop)

    assert site.executor.targets[-1] == "far-12"
    assert site.notes["demo 1.0 for far-12"] == ""


def test_what_the_store_remembers_does_not_decide_on_bytes(
    site: Site, make_sdist: MakeSdist, make_wheel: MakeWheel
) -> None:
    """Once another wheel was built under emulation, alone: with all three targets it is what it is in a new store."""
    package = make_sdist()
    other = site.store.put_file(make_wheel("demo", files={"demo/other.py": b""}))
    request = BuildRequest(package=package, target=site.targets["far-12"])
    old = Wheel(
        name="demo",
        version="1.0",
        filename="demo-1.0-py3-none-any.whl",
        digest=other.digest,
        size=other.size,
        kind="sdist",
        origin=package.origin,
    )
    remember_wheel(request, site.environments["far-12"], site.store, old)
    wheels = build_all(site.jobs(package), {}, site.workshop)

    assert len(digests(wheels)) == 1
    assert other.digest not in digests(wheels)


def test_an_emulated_build_counts_as_it_costs(site: Site, make_sdist: MakeSdist) -> None:
    """Ten times what it took elsewhere or is guessed from its size, half as much memory again; what it took stands.

    How many processors it uses is the same everywhere.
    """
    package = make_sdist()
    assert isinstance(package.origin, Artifact)
    package = replace(package, origin=replace(package.origin, size=2_000_000))
    jobs = site.jobs(package)
    settings = Build.model_validate({"packages": {"demo": {"memory": 2000, "cpus": 2}}})
    workshop = replace(site.workshop, settings=settings)
    far = wheel_key(package, "far-12")

    def cost() -> tuple[float, int, int]:
        (found,) = (task for task in tasks(jobs, {}, workshop) if task.key == far)
        return found.seconds, found.memory, found.cpus

    guessed = cost()
    site.store.remember("build-seconds", duration_key("demo", "two-13"), {"seconds": 7})
    scaled = cost()
    site.store.remember("build-seconds", duration_key("demo", "far-12"), {"seconds": 55})

    assert [guessed, scaled, cost()] == [(250, 3000, 2), (70, 3000, 2), (55, 3000, 2)]


def test_where_nothing_is_known_the_larger_archive_goes_first(site: Site, make_sdist: MakeSdist) -> None:
    """What looks long does not come last, when it would run alone."""
    small, large = (
        make_sdist("a-small"),
        make_sdist("b-large", files={"src/data.bin": random.Random(1).randbytes(9999)}),
    )
    jobs = {wheel_key(one, "one-12"): site.jobs(one)[wheel_key(one, "one-12")] for one in (small, large)}
    first = Schedule(tasks(jobs, {}, site.workshop), memory=9999, slots=1).take()

    assert first is not None
    assert first.key.startswith("b-large")


def test_a_wheel_of_another_environment_than_asked_for_is_refused(site: Site, make_sdist: MakeSdist) -> None:
    """Whoever carries out jobs must see what we see: a wheel remembered under another key is an error."""

    class Elsewhere(Here):
        def run(self, job: BuildJob) -> Built:
            return replace(super().run(job), key="another")

    workshop = replace(site.workshop, executor=lambda _slots: Elsewhere())
    with pytest.raises(BuildError, match="built in another environment than was asked for"):
        build_all(dict(list(site.jobs(make_sdist()).items())[:1]), {}, workshop)


def test_no_other_targets_environment_will_do(site: Site, make_sdist: MakeSdist) -> None:
    """A target without a build environment is an error before anything is built."""
    workshop = replace(site.workshop, environments={"one-12": site.environments["one-12"]})
    with pytest.raises(BuildError, match=r"nothing can be built for (two-13|far-12): no build environment"):
        build_all(site.jobs(make_sdist()), {}, workshop)

    assert site.executor.targets == []


def release(make_sdist: MakeSdist, make_extension: MakeSdist) -> list[tuple[LockedPackage, Sequence[LockedPackage]]]:
    """Return packages and what building them needs: some by themselves, one in C, a chain."""
    helper = make_sdist("helper", files={"src/helper_module.py": b"VALUE = 1\n"})
    user = make_sdist("user", extra="import helper_module")
    last = make_sdist("last", extra="import helper_module")
    alone: list[tuple[LockedPackage, Sequence[LockedPackage]]] = [
        (make_sdist(f"alone{number}", extra=f"time.sleep({number / 10})"), ()) for number in range(3)
    ]
    return [*alone, (make_extension("spam"), ()), (helper, ()), (user, (helper,)), (last, (user, helper))]


@pytest.mark.native
@pytest.mark.slow
def test_order_and_number_of_workers_leave_no_trace(
    tmp_path: Path, store: Store, target: Target, make_sdist: MakeSdist, make_extension: MakeSdist
) -> None:
    """One worker process in the lock's order, three in another with other expectations: the same bytes."""
    packages = release(make_sdist, make_extension)
    found = []
    for number, slots in enumerate((1, 3)):
        fresh = Store(tmp_path / f"store-{number}")
        shuffled = random.Random(number).sample(packages, len(packages)) if number else packages
        for package, _ in shuffled:
            assert isinstance(package.origin, Artifact)
            fresh.put_file(store.path(package.origin.sha256))
            seconds = random.Random(f"{number}{package.name}").random()
            fresh.remember("build-seconds", duration_key(package.name, target.name), {"seconds": seconds})
        workshop = Workshop(
            store=fresh,
            sources=Sources(store=fresh, checkout=lambda *_: None, root=tmp_path),
            environments={target.name: HostEnvironment(fresh.tmp, target=target)},
            slots=slots,
        )
        jobs = {
            wheel_key(package, target.name): Job(package=package, target=target, requirements=tuple(needs))
            for package, needs in shuffled
        }
        found.append({key: (wheel.filename, wheel.digest) for key, wheel in build_all(jobs, {}, workshop).items()})

    assert len(found[0]) == 7
    assert found[0] == found[1]

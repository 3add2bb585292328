"""Builds everything that must be built: what needs what, who goes first, what is known already, and what went wrong.

Where a build is carried out is the executor's matter. Nothing that decides on bytes depends on what ends first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from bundler import clock
from bundler.buildenv.port import BuildEnvironment
from bundler.errors import BuildError, BundlerError, Problem, WheelBuildFailed, WheelRefused
from bundler.events import ItemFinished, ItemStarted, StageAdvanced, StageFinished, StageStarted, Warned
from bundler.model.wheel import Wheel
from bundler.wheels.build import BuildRequest, build_key, recall_wheel, remember_wheel, wheel_of
from bundler.wheels.costs import tasks
from bundler.wheels.executor import BuildJob, Executor
from bundler.wheels.needed import Job, wheel_key
from bundler.wheels.pool import run_schedule
from bundler.wheels.portable import Sample, enough, proved
from bundler.wheels.schedule import Schedule, Task
from bundler.wheels.verdicts import check_all
from bundler.wheels.workshop import Workshop

STAGE = "build"
_REUSED = "reused"


def build_all(jobs: Mapping[str, Job], fetched: Mapping[str, Wheel], workshop: Workshop) -> dict[str, Wheel]:
    """Return the wheel of every job, by its key; ``fetched`` has build requirements that are wheels already.

    Raises:
        BuildError: Builds failed; ``problems`` has all of them.
    """
    if not jobs:
        return {}
    began = clock.stopwatch()
    emit = workshop.emit
    siblings = _siblings(jobs, workshop)
    schedule = Schedule(tasks(jobs, siblings, workshop), memory=workshop.memory, slots=workshop.slots)
    emit(StageStarted(stage=STAGE, total=len(jobs)))
    with contextlib.closing(workshop.executor(workshop.slots)) as executor:
        builder = _Builder(jobs=jobs, siblings=siblings, wheels=dict(fetched), workshop=workshop, executor=executor)
        outcome = run_schedule(schedule, builder.work)
    if outcome.failures:
        raise _combine(outcome.failures, outcome.given_up)
    built, reused = outcome.results, len(builder.reused)
    if reused < len(built):
        _warn_of_leaks(jobs.values(), workshop)
    size = sum(wheel.size for wheel in built.values())
    emit(StageFinished(stage=STAGE, seconds=clock.stopwatch() - began, items=len(built), reused=reused, size=size))
    return built


@dataclass(kw_only=True)
class _Builder:
    """Works on tasks, on several threads; ``siblings`` are the native builds of an emulated one's source."""

    jobs: Mapping[str, Job]
    siblings: Mapping[str, frozenset[str]]
    wheels: dict[str, Wheel]
    workshop: Workshop
    executor: Executor
    reused: set[str] = field(default_factory=set)

    def work(self, task: Task) -> Wheel:
        """Return the wheel of a task: known, proved elsewhere, or built now."""
        emit, name = self.workshop.emit, self._shown(self.jobs[task.key])
        emit(ItemStarted(stage=STAGE, item=name))
        note = "failed"
        try:
            wheel, note = self._make(task.key)
        finally:
            emit(ItemFinished(stage=STAGE, item=name, note=note))
            emit(StageAdvanced(stage=STAGE))
        if note:
            self.reused.add(task.key)
        self.wheels[task.key] = wheel
        return wheel

    def _shown(self, job: Job) -> str:
        name = f"{job.package.name} {job.package.version}"
        several = len({other.target.name for other in self.jobs.values()}) > 1
        return f"{name} for {job.target.name}" if several else name

    def _make(self, key: str) -> tuple[Wheel, str]:
        """Return the wheel, and what to say about it: nothing where it was built now."""
        request, environment = self._request(key), self.workshop.environment(self.jobs[key].target)
        # Before what is remembered: the same lock gives the same bytes, whatever was built here earlier.
        wheel = self._proved(key, request, environment)
        if wheel is not None:
            names = sorted(self.jobs[other].target.name for other in self.siblings[key])
            return wheel, f"same as built for {' and '.join(names)}"
        wheel = recall_wheel(request, environment, self.workshop.store)
        return (wheel, _REUSED) if wheel is not None else (self._build(request, environment), "")

    def _request(self, key: str) -> BuildRequest:
        job = self.jobs[key]
        return BuildRequest(
            package=job.package,
            target=job.target,
            requirements=tuple(self.wheels[wheel_key(package, job.target.name)] for package in job.requirements),
            settings=self.workshop.settings_of(job.package.name),
        )

    def _proved(self, key: str, request: BuildRequest, environment: BuildEnvironment) -> Wheel | None:
        """Return the wheel that this source's native builds prove to be right here, remembered as built here."""
        siblings = sorted(self.siblings.get(key, ()))
        if not siblings or not all(other in self.wheels for other in siblings):
            return None
        found = proved([self._sample(other) for other in siblings], self.jobs[key].requirements)
        if found is None:
            return None
        store = self.workshop.store
        try:
            check_all([(found, request.target)], store, 1)
        except WheelRefused:
            return None
        wheel = wheel_of(request, found.filename, found.digest, found.size)
        remember_wheel(request, environment, store, wheel)
        return wheel

    def _sample(self, key: str) -> Sample:
        job = self.jobs[key]
        return Sample(
            target=job.target.name,
            system=self.workshop.environment(job.target).target,
            requirements=job.requirements,
            wheel=self.wheels[key],
        )

    def _build(self, request: BuildRequest, environment: BuildEnvironment) -> Wheel:
        spec = environment.spec
        built = self.executor.run(
            BuildJob(
                request=request,
                environment=replace(spec, scratch=spec.scratch.absolute(), system=spec.system.absolute()),
                sources=self.workshop.sources.spec,
            )
        )
        if built.key != build_key(request, environment):
            raise BuildError(
                f"{request.what}: it was built in another environment than was asked for",
                hint="workers must see the same system, tools and versions of bundle-build as this host",
            )
        return wheel_of(request, built.filename, built.digest, self.workshop.store.size(built.digest))


def _siblings(jobs: Mapping[str, Job], workshop: Workshop) -> dict[str, frozenset[str]]:
    """Return, for each emulated job, the native jobs of its source, where these could prove anything for it."""
    native: dict[str, list[str]] = {}
    emulated: dict[str, list[str]] = {}
    for key, job in jobs.items():
        kind = emulated if workshop.environment(job.target).spec.emulated else native
        kind.setdefault(wheel_key(job.package, ""), []).append(key)
    found = {}
    for source, keys in emulated.items():
        others = native.get(source, [])
        if enough([workshop.environment(jobs[other].target).target for other in others]):
            found.update(dict.fromkeys(keys, frozenset(others)))
    return found


def _warn_of_leaks(jobs: Iterable[Job], workshop: Workshop) -> None:
    environments = [one for one in {workshop.environment(job.target) for job in jobs} if one.describe()]
    if not environments:
        return
    leaks = sorted({leak for one in environments for leak in one.describe()})
    contained = all(one.name == "container" for one in environments)
    workshop.emit(
        Warned(
            message=f"builds were not isolated from this host: {', '.join(leaks)}",
            hint="the guide's page on build environments says what an engine isolates, and for whom"
            if contained
            else "apt-get install bubblewrap, and allow unprivileged user namespaces",
        )
    )


def _combine(failures: Mapping[str, BundlerError], given_up: Mapping[str, str]) -> BundlerError:
    """Return one error for all failed builds: the only one as it is, several as problems of one."""
    if len(failures) == 1 and not given_up:
        return next(iter(failures.values()))
    problems: list[Problem] = []
    for _, error in sorted(failures.items()):
        # The hint says where log and tree are: on a line of its own, because the log's last one may be long.
        what = f"{error.message}\n  {error.hint}" if error.hint else error.message
        problems += [Problem(where="", what=what), *error.problems]
    for key, cause in sorted(given_up.items()):
        what = f"not built: it needs {' '.join(cause.split()[:2])}"
        problems.append(Problem(where=" ".join(key.split()[:3]), what=what))
    message = f"{len(failures)} builds failed"
    return WheelBuildFailed(message, hint="what was built is kept: a rerun goes on from there", problems=problems)

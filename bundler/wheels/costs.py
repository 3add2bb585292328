"""What a build is expected to take: the tasks of a schedule, from what earlier builds took."""

from __future__ import annotations

from collections.abc import Mapping

from bundler.model.lock import Artifact, Origin
from bundler.wheels.build import duration_key
from bundler.wheels.needed import Job, wheel_key
from bundler.wheels.schedule import Task
from bundler.wheels.workshop import Workshop

#: Where nothing is known a larger archive is taken for a longer build: what is long must not come last.
_UNKNOWN_SECONDS, _LEAST_SECONDS, _SECONDS_PER_BYTE = 30.0, 5.0, 10e-6
#: An emulated build takes so many times as long, and an emulator needs memory of its own.
EMULATED_SECONDS = 10.0
EMULATED_MEMORY = 1.5


def tasks(jobs: Mapping[str, Job], after: Mapping[str, frozenset[str]], workshop: Workshop) -> list[Task]:
    """Return the tasks of ``jobs``, by the same keys; ``after`` says what each must wait for without needing it."""
    return [_task(key, job, after.get(key, frozenset()), workshop) for key, job in jobs.items()]


def _task(key: str, job: Job, after: frozenset[str], workshop: Workshop) -> Task:
    settings = workshop.settings_of(job.package.name)
    emulated = workshop.environment(job.target).spec.emulated
    return Task(
        key=key,
        cpus=settings.cpus,
        memory=int(settings.memory * (EMULATED_MEMORY if emulated else 1)),
        seconds=_seconds(job, workshop, emulated=emulated),
        needs=frozenset(wheel_key(package, job.target.name) for package in job.requirements if package.must_build),
        after=after,
    )


def _seconds(job: Job, workshop: Workshop, *, emulated: bool) -> float:
    """Return what it took last, else what it took for another target or a guess, an emulator's slowness added."""
    known = _recorded(job.package.name, job.target.name, workshop)
    if known is not None:
        return known
    others = (name for name in workshop.environments if not workshop.environments[name].spec.emulated)
    found = [seconds for name in others if (seconds := _recorded(job.package.name, name, workshop)) is not None]
    return max(found, default=_guess(job.package.origin)) * (EMULATED_SECONDS if emulated else 1)


def _guess(origin: Origin) -> float:
    if not isinstance(origin, Artifact) or origin.size is None:
        return _UNKNOWN_SECONDS
    return _LEAST_SECONDS + origin.size * _SECONDS_PER_BYTE


def _recorded(name: str, target: str, workshop: Workshop) -> float | None:
    known = workshop.store.recall("build-seconds", duration_key(name, target))
    return float(known["seconds"]) if isinstance(known, dict) else None

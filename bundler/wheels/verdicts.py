"""Remembers which wheels passed the checks for which target, so that each is read once ever."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from bundler.errors import Problem, WheelRefused
from bundler.model.target import Target
from bundler.model.wheel import Wheel
from bundler.store.cas import Store, key_of
from bundler.wheels.check import CHECK_VERSION, Expected, check_wheel


def check_all(wheels: Iterable[tuple[Wheel, Target]], store: Store, workers: int) -> None:
    """Check each wheel for its target, once ever.

    Raises:
        WheelRefused: Some do not pass; ``problems`` has everything that is wrong with all of them.
    """
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="check") as pool:
        found = list(pool.map(lambda pair: _check_once(pair[0], pair[1], store), wheels))
    distinct = {problem for problems in found for problem in problems}
    problems = sorted(distinct, key=lambda problem: (problem.where, problem.what))
    if problems:
        raise WheelRefused(
            f"{len({problem.where.partition(':')[0] for problem in problems})} wheels are refused",
            hint="exclude these versions by a constraint, or give repaired wheels in a wheel folder",
            problems=problems,
        )


def _check_once(wheel: Wheel, target: Target, store: Store) -> list[Problem]:
    system = (target.name, target.python.full_version, target.glibc)
    key = key_of(CHECK_VERSION, wheel.digest, wheel.filename, wheel.name, wheel.version, system)
    if store.recall("wheel-check", key) is not None:
        return []
    expected = Expected(filename=wheel.filename, name=wheel.name, version=wheel.version, target=target)
    problems = check_wheel(store.checked(wheel.digest), expected)
    if not problems:
        store.remember("wheel-check", key, {"wheel": wheel.filename, "target": target.name})
    return problems

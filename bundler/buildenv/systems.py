"""Where each target's wheels are built, its bytecode compiled, its venvs proved: this host, or a root file system.

Nothing is made before it is asked for; what was made is kept in the store.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from bundler.buildenv import apt, bubblewrap, emulation
from bundler.buildenv.container_image import export_image, find_image
from bundler.buildenv.drivers import open_environment
from bundler.buildenv.interpreter import Interpreter
from bundler.buildenv.port import BuildEnvironment, EnvironmentSpec
from bundler.buildenv.recipe import Archive, Recipe, base_recipe, build_packages, suite_of, system_of
from bundler.buildenv.rootfs import check_python
from bundler.buildenv.rootfs_cache import STAGE, Rootfs, RootfsCache
from bundler.clock import stopwatch
from bundler.errors import BuildEnvironmentError, BundlerError, Problem
from bundler.events import Emit, StageAdvanced, StageFinished, StageStarted, ignore
from bundler.model.manifest import System
from bundler.model.target import Python, Target
from bundler.store.cas import Store

#: Root file systems that are made at the same time: one unpacks while another waits for its mirror.
_AT_ONCE = 2


@dataclass(frozen=True, kw_only=True)
class SystemRoot:
    """The root of a system that a venv runs in: ``/`` is this host's. ``identity`` tells versions of it apart.

    ``packages`` are what it has beyond the target's Python; this host may have more.
    """

    path: Path = bubblewrap.HOST
    packages: tuple[str, ...] = ()
    identity: str = ""
    emulated: bool = False

    @property
    def is_host(self) -> bool:
        """Return whether it is this host's own."""
        return self.path == bubblewrap.HOST


@dataclass(frozen=True, kw_only=True)
class SystemsRequest:
    """What decides where things are built. ``build_packages`` are distro packages by target name.

    ``environment`` is a driver's name or ``auto``; with ``strict`` no venv is proved on this host itself.
    """

    host: Target
    environment: str = "auto"
    systems: Mapping[str, System] = field(default_factory=dict)
    build_packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    strict: bool = False


class Systems:
    """The systems of one run."""

    def __init__(self, request: SystemsRequest, store: Store, emit: Emit = ignore, *, refresh: bool = False) -> None:
        self._request = request
        self._store = store
        self._cache = RootfsCache(store=store, emit=emit, refresh=refresh)
        self._emit = emit
        self._opened: dict[str, BuildEnvironment] = {}
        self._checked: set[Path | Target] = set()
        self._lock = threading.Lock()

    def driver(self, target: Target) -> str:
        """Return the name of the build environment's driver for ``target``."""
        if self._request.environment != "auto":
            return self._request.environment
        return "host" if self.is_host(target) and not self._request.strict else "rootfs"

    def is_host(self, target: Target) -> bool:
        """Return whether ``target`` is this host's own system, maybe with another Python."""
        host = self._request.host
        return (target.distro, target.version, target.arch) == (host.distro, host.version, host.arch)

    def environment(self, target: Target) -> BuildEnvironment:
        """Return where wheels of ``target`` are compiled.

        Raises:
            BuildEnvironmentError: It cannot be made.
            UsageError: There is no such driver.
        """
        with self._lock:
            known = self._opened.get(target.name)
        if known is None:
            known = open_environment(self._spec(target))
            with self._lock:
                known = self._opened.setdefault(target.name, known)
        return known

    def _spec(self, target: Target) -> EnvironmentSpec:
        driver, scratch = self.driver(target), self._store.root / "host"
        if driver != "rootfs":
            image = system_of(self._request.systems, target).image
            return EnvironmentSpec(driver=driver, target=target, scratch=scratch, image=image)
        packages = build_packages(target, self._request.build_packages.get(target.name, ()))
        made = self._rootfs(target, packages, f"{target.name} to build in")
        return EnvironmentSpec(
            driver=driver,
            target=target,
            scratch=scratch,
            system=made.path,
            identity=made.identity,
            emulated=emulation.is_foreign(target),
        )

    def runtime(self, target: Target, packages: Sequence[str]) -> SystemRoot:
        """Return a system that has the target's Python and ``packages``, nothing else: what a service host has.

        Raises:
            BuildEnvironmentError: It cannot be made.
        """
        names = tuple(sorted(set(packages)))
        every = tuple(sorted({*names, *system_of(self._request.systems, target).packages}))
        if self.driver(target) == "host":
            return SystemRoot(packages=every)
        what = f"{target.name} with {', '.join(names)}" if names else f"{target.name} to run in"
        made = self._rootfs(target, names, what)
        return SystemRoot(
            path=made.path, packages=every, identity=made.identity, emulated=emulation.is_foreign(target)
        )

    def build_root(self, target: Target) -> Path | None:
        """Return the root of the system that wheels of ``target`` were compiled in, if one was made in this run."""
        with self._lock:
            opened = self._opened.get(target.name)
        return opened.spec.system if opened is not None and opened.name == "rootfs" else None

    def interpreter(self, python: Python, targets: Iterable[Target]) -> Interpreter:
        """Return an interpreter of exactly that version: this host's, else of the system that runs fastest here.

        Bytecode is the same on every architecture.
        """
        chosen = min(
            (target for target in targets if target.python == python),
            key=lambda target: (self.driver(target) != "host", emulation.is_foreign(target), target.name),
        )
        return Interpreter(python=python, system=self.runtime(chosen, ()).path)

    def prepare(self, builds: Iterable[Target], runs: Iterable[tuple[Target, tuple[str, ...]]]) -> None:
        """Make all that a run needs, several at once: systems to build in, and systems to run in.

        Raises:
            BuildEnvironmentError: Some cannot be made; all are named.
        """
        builds, runs = tuple(dict.fromkeys(builds)), tuple(dict.fromkeys(runs))
        calls: list[Callable[[], object]] = [
            *(partial(self.environment, target) for target in builds if self.driver(target) == "rootfs"),
            *(partial(self.runtime, target, names) for target, names in runs if self.driver(target) != "host"),
        ]
        if not calls:
            return
        began = stopwatch()
        self._emit(StageStarted(stage=STAGE, total=len(calls)))
        failures: list[BundlerError] = []
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="systems") as pool:
            for future in [pool.submit(call) for call in calls]:
                error = future.exception()
                if isinstance(error, BundlerError):
                    failures.append(error)
                elif error is not None:
                    raise error
                self._emit(StageAdvanced(stage=STAGE))
        if failures:
            raise _combined(failures)
        self._emit(StageFinished(stage=STAGE, seconds=stopwatch() - began, items=len(calls)))

    def problems(self, targets: Iterable[Target]) -> Iterator[Problem]:
        """Yield why systems of ``targets`` cannot be made or entered here; nothing is made."""
        needed = [target for target in targets if self._is_made(target)]
        if not needed:
            return
        if shutil.which("mmdebstrap") is None:
            yield Problem(where="mmdebstrap", what="is not installed", hint="apt-get install mmdebstrap")
        with self._store.workdir("isolation") as scratch:
            wrong = bubblewrap.why_not(scratch)
        if wrong:
            hint = "apt-get install bubblewrap; as root: sysctl kernel.unprivileged_userns_clone=1, or the like"
            yield Problem(where="bubblewrap", what=f"does not work: {wrong}", hint=hint)
        for target in needed:
            yield from self._obstacles(target)

    def _obstacles(self, target: Target) -> Iterator[Problem]:
        where = f"targets: {target.name}"
        if emulation.is_foreign(target):
            if wrong := emulation.why_not(target):
                yield Problem(where=where, what=wrong[0], hint=wrong[1])
            if shutil.which("arch-test") is None:
                what = f"arch-test is not installed: mmdebstrap asks it whether {target.arch} programs run"
                yield Problem(where=where, what=what, hint="apt-get install arch-test")
        try:
            self._recipe(target)
        except BuildEnvironmentError as error:
            yield Problem(where=where, what=error.message, hint=error.hint)

    def _is_made(self, target: Target) -> bool:
        """Return whether mmdebstrap makes systems of ``target``: else this host is it, or its image is."""
        driver = self.driver(target)
        known = bool(suite_of(target, system_of(self._request.systems, target)))
        return driver == "rootfs" or (driver == "container" and known)

    def _require(self, target: Target) -> None:
        """Refuse a target that cannot have a root file system here, before any is begun."""
        with self._lock:
            known = target in self._checked
        if known:
            return
        problems = list(self.problems([target]))
        if problems:
            raise BuildEnvironmentError(
                f"{target.name} needs a root file system, and none can be made here",
                hint="sh scripts/prepare-host prepares a build host",
                problems=problems,
            )
        with self._lock:
            self._checked.add(target)

    def _rootfs(self, target: Target, packages: tuple[str, ...], what: str) -> Rootfs:
        if not self._is_made(target):
            image = find_image(system_of(self._request.systems, target).image)
            made = self._cache.exported(image.identity, partial(export_image, image), f"{target.name} of its image")
        else:
            self._require(target)
            made = self._cache.derived(self._recipe(target), packages, what)
        with self._lock:
            new = made.path not in self._checked
            self._checked.add(made.path)
        if new:
            check_python(made.path, target)
        return made

    def _recipe(self, target: Target) -> Recipe:
        return base_recipe(target, system_of(self._request.systems, target), *self._apt)

    @cached_property
    def _apt(self) -> tuple[tuple[Archive, ...], tuple[str, ...]]:
        return apt.known_archives(), apt.reaching_options()


def _combined(failures: Sequence[BundlerError]) -> BundlerError:
    if len(failures) == 1:
        return failures[0]
    problems = [
        problem
        for error in failures
        for problem in (Problem(where="", what=error.message, hint=error.hint), *error.problems)
    ]
    return BuildEnvironmentError(
        f"{len(failures)} root file systems cannot be made", problems=tuple(dict.fromkeys(problems))
    )

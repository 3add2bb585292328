"""Measure how the scheduler keeps the processors busy while real sources are compiled, in one run on one machine.

    scripts/bench/compile.py [--downloads DIRECTORY] [NAME==VERSION …]

Sources and the wheels of their build requirements come through pip's own configuration, before anything is timed.
Ours is measured twice: in a new store, which knows nothing of how long builds take, and in another one that has only
these figures. Busy is the processor time of all our children over wall time times processors: let nothing else run
meanwhile. Baseline: ``pip wheel --no-deps``, one source after the other, with the same build requirements. A limit
that is missed makes the exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import parse_sdist_filename, parse_wheel_filename
from synthetic import verdict

from bundler.buildenv.host import HostEnvironment
from bundler.buildenv.host_target import host_target
from bundler.model.lock import Artifact, BuildLock, LockedPackage
from bundler.model.wheel import Wheel
from bundler.store.cas import Store, key_of
from bundler.wheels.build import duration_key
from bundler.wheels.inspector import SourceInspector
from bundler.wheels.provide import Provider, provide_requirements
from bundler.wheels.source import Sources

#: Sources in C and C++ that need no headers but Python's.
SOURCES = (
    "brotli==1.1.0", "coverage==7.6.1", "greenlet==3.1.1", "hiredis==3.0.0", "lz4==4.3.3", "markupsafe==3.0.2",
    "msgpack==1.1.0", "multidict==6.1.0", "psutil==6.1.0", "pycryptodome==3.21.0", "regex==2024.9.11",
    "simplejson==3.19.3", "ujson==5.10.0", "uwsgi==2.0.28", "wrapt==1.16.0", "xxhash==3.5.0", "zstandard==0.23.0",
)  # fmt: skip
BUSY, RATIO = 85.0, 1.0
CORES = len(os.sched_getaffinity(0))
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Source:
    """An sdist and the wheels that its build environment holds."""

    sdist: Path
    requirements: tuple[Path, ...]


@dataclass(frozen=True)
class Run:
    """Wall seconds, processor seconds of all children, and what was built: SHA-256 by file name."""

    wall: float
    cpu: float
    wheels: Mapping[str, str]

    @property
    def busy(self) -> float:
        """Return which part of the processors was used, in percent."""
        return 100 * self.cpu / self.wall / CORES


def pip(*arguments: str) -> None:
    """Run pip with its own configuration."""
    subprocess.run([sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments], check=True)


def download(folder: Path, *arguments: str) -> tuple[Path, ...]:
    """Return what pip downloads into ``folder``."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        pip("download", "-d", str(folder), *arguments)
    return tuple(sorted(folder.iterdir()))


class Workplace:
    """A store of its own, filled with sources and build requirements."""

    def __init__(self, root: Path, downloads: Path) -> None:
        self.store = Store(root)
        self.target = host_target()
        self._downloads = downloads
        environment = HostEnvironment(self.store.tmp, target=self.target)
        sources = Sources(store=self.store, checkout=lambda *_: None, root=root)
        self.provider = Provider(
            store=self.store,
            sources=sources,
            targets={self.target.name: self.target},
            environments={self.target.name: environment},
        )
        self._inspector = SourceInspector(
            sources=sources,
            fetch=lambda _artifacts: None,
            environment=lambda _target: environment,
            wheels_for=lambda lines, _target: self._wheels(self.requirements(lines)),
        )

    def requirements(self, lines: Sequence[str]) -> tuple[Path, ...]:
        """Return the wheels that ``lines`` resolve to."""
        if not lines:
            return ()
        python = ("--only-binary", ":all:", "--python-version", self.target.python.version)
        return download(self._downloads / key_of(sorted(lines))[:16], *python, *lines)

    def _wheels(self, paths: Sequence[Path]) -> tuple[Wheel, ...]:
        packages = [self.package(path) for path in paths]
        return provide_requirements(packages, (), self.target, self.provider)

    def package(self, path: Path) -> LockedPackage:
        """Put a file into the store and return its locked package."""
        is_wheel = path.suffix == ".whl"
        name, version = parse_wheel_filename(path.name)[:2] if is_wheel else parse_sdist_filename(path.name)
        blob = self.store.put_file(path)
        origin = Artifact(name=path.name, url=f"file:{path.name}", sha256=blob.digest, size=blob.size)
        return LockedPackage(name=name, version=str(version), kind="wheel" if is_wheel else "sdist", origin=origin)

    def source(self, requirement: str) -> Source:
        """Return a source with its build requirements, asked of its backend where it does not declare them."""
        name = requirement.partition("==")[0]
        place = self._downloads / f"{name}-sdist"
        (sdist,) = download(place, "--no-deps", "--no-binary", name, requirement)
        lines = self._inspector.build_requires(self.package(sdist), self.target)
        return Source(sdist=sdist, requirements=self.requirements(lines))

    def build(self, sources: Sequence[Source]) -> Run:
        """Build all ``sources`` as a lock of them would."""
        packages = [self.package(source.sdist) for source in sources]
        builds = [
            BuildLock(
                package=package.name,
                version=package.version,
                target=self.target.name,
                packages=tuple(self.package(path) for path in source.requirements),
            )
            for package, source in zip(packages, sources, strict=True)
        ]
        before, started = children(), time.perf_counter()
        wheels = provide_requirements(packages, builds, self.target, self.provider)
        return Run(
            wall=time.perf_counter() - started,
            cpu=children() - before,
            wheels={wheel.filename: wheel.digest for wheel in wheels},
        )

    def learn(self, other: Workplace, run: Run) -> None:
        """Take over from ``other`` how long each build of ``run`` took, and nothing else."""
        for filename in run.wheels:
            key = duration_key(parse_wheel_filename(filename)[0], self.target.name)
            self.store.remember("build-seconds", key, other.store.recall("build-seconds", key))


def adopt_orphans() -> None:
    """Become the parent of what others leave behind: bubblewrap does not wait for its init, who knows of all builds.

    See prctl(2).
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> float:
    """Return the processor seconds of all children that have ended, and of theirs."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one_after_the_other(sources: Sequence[Source], work: Path) -> Run:
    """Build all ``sources`` with pip, as a script does it."""
    links = {}
    for source in sources:
        links[source] = work / f"links-{source.sdist.name}"
        links[source].mkdir()
        for path in source.requirements:
            shutil.copy(path, links[source])
    before, started = children(), time.perf_counter()
    for source in sources:
        options = ("--no-deps", "--no-index", "--no-cache-dir", "--find-links", str(links[source]))
        pip("wheel", *options, "-w", str(work / "wheels"), str(source.sdist))
    wall, cpu = time.perf_counter() - started, children() - before
    return Run(wall=wall, cpu=cpu, wheels={path.name: "" for path in (work / "wheels").iterdir()})


def main() -> int:
    """Measure, print, and say by the exit status whether every limit held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", default=SOURCES, help="requirements of the form NAME==VERSION")
    parser.add_argument("--downloads", type=Path, help="keep what is downloaded there, for the next time")
    options = parser.parse_args()
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="bench-compile-") as temporary:
        work = Path(temporary)
        downloads = options.downloads or work / "downloads"
        asking = Workplace(work / "asking", downloads)
        sources = [asking.source(requirement) for requirement in options.sources]
        new, known = (Workplace(work / name, downloads) for name in ("new", "known"))
        first = new.build(sources)
        known.learn(new, first)
        second = known.build(sources)
        stock = one_after_the_other(sources, work)
    differing = sorted(name for name, digest in first.wheels.items() if second.wheels[name] != digest)
    ratio = second.wall / stock.wall
    print(f"{len(first.wheels)} sources on {CORES} processors")
    print(f"pip wheel, one after the other      {stock.wall:7.2f} s   busy {stock.busy:5.1f} %")
    print(f"ours, durations not known           {first.wall:7.2f} s   busy {first.busy:5.1f} %")
    print(f"ours, durations known               {second.wall:7.2f} s   busy {second.busy:5.1f} %"
          f"  limit {BUSY:g}   {verdict(missed=second.busy < BUSY)}")  # fmt: skip
    print(f"of pip wheel's time                 {ratio:7.2f} x   limit {RATIO:g}   {verdict(missed=ratio > RATIO)}")
    print(f"wheels that differ in the second    {len(differing):7d}     limit 0   {verdict(missed=bool(differing))}")
    print("".join(f"  {name}\n" for name in differing), end="")
    return int(second.busy < BUSY or ratio > RATIO or bool(differing))


if __name__ == "__main__":
    sys.exit(main())

"""Put venv archives onto this host beside the old ones, and switch to them.

    1 read what the archives say of themselves; refuse what does not fit, before anything is written
    2 fill the trees under unfinished names with layers, each unpacked once or there already: the rest are hard links
    3 put in what each venv has of its own: its configuration, its symbolic links, our record
    4 sync the file system, once
    5 give the venvs their names
    6 switch the links; remove what is too old

A kill before 5 leaves nothing that has a name; after it, a rerun finds what is done and goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bundler import files
from bundler.archive.extract import Extraction, checked_path
from bundler.clock import stopwatch
from bundler.deploy.interpreter import check_interpreter
from bundler.deploy.places import Places
from bundler.deploy.shared_layers import Filling, fill
from bundler.deploy.state import hold
from bundler.deploy.venv_archive import Archive, OwnFrame, read_own_frame
from bundler.deploy.venv_record import VenvRecord, read_record, venvs_in
from bundler.deploy.venv_switch import check_link, forget_old, linked_to, switch
from bundler.errors import IntegrityError, UnpackFailed
from bundler.events import Emit, ItemFinished, StageAdvanced, StageFinished, StageStarted, ignore
from bundler.process import share_out

STAGE = "unpack"
#: Beside the venvs: the lock, and what is being fetched.
BESIDE = ".bundle-install"


@dataclass(frozen=True, kw_only=True)
class UnpackRequest:
    """``into``: the directory of the venvs; ``link``: its name instead of the venv's; ``keep``: old ones beside it.

    ``copy``: no file is shared with another venv.
    """

    into: Path
    link: str = ""
    keep: int = 2
    copy: bool = False
    workers: int | None = None


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """A venv that is in use now. ``layers``: how many it has; ``reused``: how many of them were here before.

    ``facts``: the files of local facts that changed in the same run.
    """

    venv: str
    path: Path
    link: Path
    changed: bool
    layers: int = 0
    reused: int = 0
    removed: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Job:
    archive: Archive
    own: OwnFrame
    path: Path
    link: Path
    record: VenvRecord
    there: bool


def unpack(request: UnpackRequest, archives: Sequence[Archive], emit: Emit = ignore) -> tuple[Unpacked, ...]:
    """Put the venvs of ``archives`` into place and switch to them; what is there already is not touched.

    Raises:
        UnpackFailed: This host lacks their Python, or something that is not ours is in the way.
        IntegrityError: An archive is damaged, or holds what none of ours does.
        SpaceError: There is no room; the old venvs are as they were.
        Busy: Another run unpacks into the same directory.
    """
    began = stopwatch()
    request.into.mkdir(parents=True, exist_ok=True)
    with using(request.into):
        # 1
        jobs = tuple(_job(request, archive) for archive in archives)
        _check_interpreters(jobs)
        emit(StageStarted(stage=STAGE, total=len(jobs)))
        known = _place(request, [job for job in jobs if not job.there], emit)
        done = tuple(_activate(request, job, known) for job in jobs)
    emit(StageFinished(stage=STAGE, seconds=stopwatch() - began, items=len(done)))
    return done


@contextmanager
def using(into: Path) -> Iterator[None]:
    """Be the one run that changes the venvs in a directory; what killed runs left unfinished is removed.

    Raises:
        UnpackFailed: There is no such directory.
        Busy: Another run is.
        SpaceError: While it lasts, the file system becomes full.
    """
    if not into.is_dir():
        raise UnpackFailed(f"there is no directory {into}", hint="--into is the directory of the venvs")
    with hold(Places(state=into / BESIDE)), files.room_for(into):
        files.sweep(into)
        yield


def _job(request: UnpackRequest, archive: Archive) -> _Job:
    own = read_own_frame(archive)
    path = request.into / _name(archive.name)
    link = request.into / _name(request.link or own.name)
    check_link(link, path)
    found = read_record(path)
    if found is None and path.exists():
        raise UnpackFailed(f"{path} is there and is none of our venvs", hint="move it away, then try again")
    record = VenvRecord(
        name=link.name,
        archive=archive.sha256,
        layers=archive.layers,
        copied=request.copy,
        previous=_previous(link, path, found),
    )
    there = found is not None and (found.archive, found.copied) == (record.archive, record.copied)
    return _Job(archive=archive, own=own, path=path, link=link, record=record, there=there)


def _check_interpreters(jobs: Sequence[_Job]) -> None:
    """Look for the Python of each venv; where they all want one, it is asked once."""
    wanted = {(job.own.executable, job.own.version): job.archive.runtime_packages for job in jobs}
    for (executable, version), packages in wanted.items():
        check_interpreter(executable, version, packages)


def _previous(link: Path, path: Path, found: VenvRecord | None) -> str:
    """Return what is in use before ``path`` is; a venv that takes its own place has the one before that."""
    current = linked_to(link) or ""
    if current != path.name:
        return current
    return found.previous if found else ""


def _name(text: str) -> str:
    if "/" in checked_path(text) or text.startswith("."):
        raise IntegrityError(f"{text!r} is no name of a directory of venvs")
    return text


def _place(request: UnpackRequest, jobs: Sequence[_Job], emit: Emit) -> frozenset[str]:
    """Make the venvs that are not there yet; return the layers that were here before."""
    if not jobs:
        return frozenset()
    with ExitStack() as stack, _umask(0o022):
        trees = [stack.enter_context(files.unfinished_directory(job.path)) for job in jobs]
        # While they are empty.
        extractions = [Extraction(tree, absolute=job.own.absolute) for job, tree in zip(jobs, trees, strict=True)]
        # 2
        known = _copy(request, jobs, extractions) if request.copy else _share(request, jobs, trees)
        # 3
        for job, extraction in zip(jobs, extractions, strict=True):
            _finish(job, extraction)
            emit(ItemFinished(stage=STAGE, item=job.path.name))
            emit(StageAdvanced(stage=STAGE))
        # 4
        files.sync_file_system(request.into)
        # 5
        for job, tree in zip(jobs, trees, strict=True):
            files.recover_directory(job.path)
            files.take_place(tree, job.path)
        files.fsync_directory(request.into)
    return known


def _share(request: UnpackRequest, jobs: Sequence[_Job], trees: Sequence[Path]) -> frozenset[str]:
    having: dict[str, list[str]] = {}
    for name, record in venvs_in(request.into).items():
        for layer in () if record.copied else record.layers:
            having.setdefault(layer, []).append(str(request.into / name))
    fillings = [Filling(archive=job.archive, tree=str(tree)) for job, tree in zip(jobs, trees, strict=True)]
    # The disk writes files while processors make links.
    return fill(fillings, having, _workers(request), partial(files.sync_file_system, request.into))


def _copy(request: UnpackRequest, jobs: Sequence[_Job], extractions: Sequence[Extraction]) -> frozenset[str]:
    def copy(numbers: Iterator[int]) -> None:
        for number in numbers:
            archive = jobs[number].archive
            for place in range(len(archive.layers)):
                extractions[number].add(archive.decoded(place), place)

    share_out(len(jobs), copy, _workers(request))
    return frozenset()


def _workers(request: UnpackRequest) -> int:
    """Return how many processes to use: making files keeps one Python busy."""
    return request.workers or len(os.sched_getaffinity(0))


def _finish(job: _Job, extraction: Extraction) -> None:
    extraction.root.chmod(0o755)
    extraction.add(job.archive.decoded(job.archive.own), len(job.archive.layers))
    extraction.finish()
    job.record.put(extraction.root)


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _activate(request: UnpackRequest, job: _Job, known: frozenset[str]) -> Unpacked:
    # 6
    switched = switch(job.link, job.path, job.record)
    removed = forget_old(request.into, job.path, job.link, request.keep)
    reused = len(known.intersection(job.archive.layers)) if not job.there else len(job.archive.layers)
    return Unpacked(
        venv=job.link.name,
        path=job.path,
        link=job.link,
        changed=switched or not job.there,
        layers=len(job.archive.layers),
        reused=reused,
        removed=removed,
    )

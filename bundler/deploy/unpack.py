"""Put venv archives onto this host beside the old ones, and switch to them.

    1 read what the archives say of themselves; refuse what does not fit, before anything is written
    2 unpack the layers that no venv here has, each once, in parallel
    3 make the trees under unfinished names: hard links to layers, the venvs' own files as copies
    4 sync the file system, once
    5 give layers, then venvs their names
    6 switch the links; remove what is too old, and layers that nobody has any more

A kill before 5 leaves nothing that has a name; after it, a rerun finds what is done and goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bundler import files
from bundler.archive.extract import Extraction, checked_path
from bundler.clock import stopwatch
from bundler.deploy.interpreter import check_interpreter
from bundler.deploy.layer_store import LAYERS, LayerStore
from bundler.deploy.places import Places
from bundler.deploy.state import hold
from bundler.deploy.venv_archive import Archive, OwnFrame, read_own_frame
from bundler.deploy.venv_record import VenvRecord, read_record, venvs_in
from bundler.deploy.venv_switch import check_link, forget_old, linked_to, switch
from bundler.errors import IntegrityError, UnpackFailed
from bundler.events import Emit, ItemFinished, StageAdvanced, StageFinished, StageStarted, ignore
from bundler.process import in_processes

STAGE = "unpack"
#: A process more is worth its while for so many layers or venvs.
_WORTH = 2


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
    """A venv that is in use now. ``layers``: how many it has; ``reused``: how many of them were here before."""

    venv: str
    path: Path
    link: Path
    changed: bool
    layers: int = 0
    reused: int = 0
    removed: tuple[str, ...] = ()


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
    with hold(Places(state=request.into / LAYERS)), files.room_for(request.into):
        for place in (request.into, request.into / LAYERS):
            files.sweep(place)
        # 1
        jobs = tuple(_job(request, archive) for archive in archives)
        for job in jobs:
            check_interpreter(job.own.executable, job.own.version, job.archive.runtime_packages)
        emit(StageStarted(stage=STAGE, total=len(jobs)))
        store = LayerStore(request.into)
        known = _place(request, store, [job for job in jobs if not job.there], emit)
        done = tuple(_activate(request, job, known) for job in jobs)
        store.forget_others(_layers_here(request.into))
    emit(StageFinished(stage=STAGE, seconds=stopwatch() - began, items=len(done)))
    return done


def _layers_here(into: Path) -> Iterable[str]:
    return [layer for record in venvs_in(into).values() if not record.copied for layer in record.layers]


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


def _place(request: UnpackRequest, store: LayerStore, jobs: Sequence[_Job], emit: Emit) -> frozenset[str]:
    """Make the venvs that are not there yet; return the layers that were here before."""
    if not jobs:
        return frozenset()
    with ExitStack() as stack:
        trees = [stack.enter_context(files.unfinished_directory(job.path)) for job in jobs]
        spare = stack.enter_context(files.unfinished_directory(store.root / "layers"))
        # 2
        known = frozenset() if request.copy else _fetch_layers(request, store, jobs, spare)

        def make(job: _Job, tree: Path) -> None:
            # 3
            tree.chmod(0o755)
            _copy(job, tree) if request.copy else _link(job, store, tree)
            job.record.save(tree)

        _in_parallel(request.workers, make, list(zip(jobs, trees, strict=True)))
        for job in jobs:
            emit(ItemFinished(stage=STAGE, item=job.path.name))
            emit(StageAdvanced(stage=STAGE))
        # 4
        files.sync_file_system(request.into)
        # 5
        store.name_all()
        for job, tree in zip(jobs, trees, strict=True):
            files.recover_directory(job.path)
            files.take_place(tree, job.path)
        files.fsync_directory(request.into)
    return known


def _fetch_layers(request: UnpackRequest, store: LayerStore, jobs: Sequence[_Job], spare: Path) -> frozenset[str]:
    wanted = {digest: (job.archive, place) for job in jobs for place, digest in enumerate(job.archive.layers)}
    known = frozenset(digest for digest in wanted if store.has(digest))
    missing = [(digest, *place) for digest, place in wanted.items() if digest not in known]

    def fetch(digest: str, archive: Archive, place: int) -> None:
        store.unpack(digest, archive.decoded(place), spare)

    _in_parallel(request.workers, fetch, missing)
    store.add((digest for digest, *_ in missing), spare)
    return known


def _link(job: _Job, store: LayerStore, tree: Path) -> None:
    # The tree is still empty, and stays without symbolic links until all files are there.
    extraction = Extraction(tree, absolute=job.own.absolute)
    made: set[str] = {""}
    for digest in job.archive.layers:
        store.link(digest, str(tree), made)
    extraction.add(job.archive.decoded(job.archive.own))
    extraction.finish()


def _copy(job: _Job, tree: Path) -> None:
    extraction = Extraction(tree, absolute=job.own.absolute)
    for place in range(len(job.archive.layers) + 1):
        extraction.add(job.archive.decoded(place), place)
    extraction.finish()


def _in_parallel(workers: int | None, action: Callable[..., None], arguments: Sequence[tuple[object, ...]]) -> None:
    """Call ``action`` with each of ``arguments``: in processes, because making files keeps one Python busy."""
    count = min(workers or len(os.sched_getaffinity(0)), len(arguments) // _WORTH)

    def part(number: int) -> None:
        for one in arguments[number::count]:
            action(*one)

    if count > 1:
        in_processes([partial(part, number) for number in range(count)])
    else:
        for one in arguments:
            action(*one)


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

"""Keep a store: read every blob again, remove what nobody used for long, say what is in it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bundler.clock import stopwatch
from bundler.errors import Problem, StoreError
from bundler.events import Emit, StageAdvanced, StageFinished, StageStarted, ignore
from bundler.store.cas import Store
from bundler.store.upkeep import blob_files, entries, forget, remove_damaged, time_of, usage

STAGE = "store"
_DAY = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one kind of content amounts to."""

    kind: str
    count: int
    size: int


def check_store(store: Store, emit: Emit = ignore, workers: int | None = None) -> Share:
    """Read every blob of the store and return how many there are; damaged ones are removed.

    Raises:
        StoreError: Some were damaged; ``problems`` names them.
    """
    began = stopwatch()
    paths = blob_files(store)
    size = sum(path.stat().st_size for path in paths)
    emit(StageStarted(stage=STAGE, total=size, unit="bytes"))
    damaged = remove_damaged(
        store, paths, workers or os.cpu_count() or 1, lambda read: emit(StageAdvanced(stage=STAGE, amount=read))
    )
    emit(StageFinished(stage=STAGE, seconds=stopwatch() - began, items=len(paths), size=size))
    if damaged:
        raise StoreError(
            f"{len(damaged)} of {len(paths)} blobs were damaged and are removed",
            hint="build again: they are fetched or made anew. Is the disk, or the memory, failing?",
            problems=[Problem(where=path.name, what="is not what its name says") for path in damaged],
        )
    return Share(kind="blobs", count=len(paths), size=size)


def prune_store(store: Store, days: int, *, dry_run: bool = False) -> tuple[Share, ...]:
    """Remove what no run used for so many days, and return what that was by kind; ``dry_run`` removes nothing.

    What is removed is fetched or made again when a build needs it.

    Raises:
        StoreError: Another run uses the store.
    """
    with store.alone():
        before = time_of(store) - days * _DAY
        old = [entry for entry in entries(store) if entry.used < before]
        for entry in () if dry_run else old:
            forget(entry)
    kinds = sorted({entry.kind for entry in old})
    sizes = {kind: [entry.size for entry in old if entry.kind == kind] for kind in kinds}
    return tuple(Share(kind=kind, count=len(found), size=sum(found)) for kind, found in sizes.items())


def measure_store(store: Store) -> tuple[Share, ...]:
    """Return what the store holds, by directory."""
    return tuple(Share(kind=kind, count=count, size=size) for kind, (count, size) in usage(store).items())

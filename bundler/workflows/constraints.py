"""Settle the constraint layers of a manifest: one effective file for each group of venvs that share them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import ConstraintError, Problem, UsageError
from bundler.events import Emit, ignore
from bundler.model.constraints import Effective, merge
from bundler.model.lock import LayerRecord
from bundler.model.manifest import Manifest
from bundler.model.manifest_load import LoadedManifest
from bundler.sources.constraint_files import MOST_BYTES, RELEASE, Fetch, LayerReader, layer_groups, refuse
from bundler.sources.git import GitSources
from bundler.sources.http import HttpClient
from bundler.sources.indexes import index_config
from bundler.store.cas import Store
from bundler.workflows.manifest import open_manifest


@dataclass(frozen=True, kw_only=True)
class ConstraintGroup:
    """Venvs that share their layers, what these say together, and where they came from."""

    name: str
    venvs: tuple[str, ...]
    effective: Effective
    records: tuple[LayerRecord, ...]


def constraint_groups(manifest: Manifest, reader: LayerReader) -> tuple[ConstraintGroup, ...]:
    """Return the effective constraints of every group of venvs.

    Raises:
        ConstraintError: Everything that is wrong with any layer of any venv.
    """
    problems: list[Problem] = []
    groups = []
    for group in layer_groups(manifest):
        found = reader.read(group.layers)
        try:
            effective = merge([layer for layer, _ in found])
        except ConstraintError as error:
            problems.extend(error.problems)
            continue
        records = tuple(record for _, record in found)
        groups.append(ConstraintGroup(name=group.name, venvs=group.venvs, effective=effective, records=records))
    refuse([*reader.problems, *problems])
    return tuple(groups)


def release_group(manifest: Manifest, reader: LayerReader, groups: Iterable[ConstraintGroup]) -> ConstraintGroup:
    """Return the effective constraints of the release's own layers, whether or not a venv has just these.

    Raises:
        ConstraintError: Everything that is wrong with them.
    """
    for group in groups:
        if group.name == RELEASE:
            return group
    found = reader.read(manifest.constraints)
    refuse(reader.problems)
    return ConstraintGroup(
        name=RELEASE,
        venvs=(),
        effective=merge([layer for layer, _ in found]),
        records=tuple(record for _, record in found),
    )


def records_of(groups: Iterable[ConstraintGroup]) -> tuple[LayerRecord, ...]:
    """Return what the lock records of all layers, each once."""
    return tuple(dict.fromkeys(record for group in groups for record in group.records))


def show_constraints(path: Path, store: Store, emit: Emit, *, only: str = "") -> tuple[ConstraintGroup, ...]:
    """Return the effective constraints of the manifest at ``path``; ``only`` names one group, or a venv in it.

    Raises:
        ManifestError: The manifest is wrong.
        ConstraintError: A constraint layer is wrong or cannot be had.
        UsageError: There is no such group or venv.
    """
    loaded = open_manifest(path, emit)
    with _fetcher(loaded) as fetch:
        reader = LayerReader(root=loaded.root, fetch=fetch, read_git=GitSources(store, emit).show_file)
        groups = constraint_groups(loaded.manifest, reader)
    if not only:
        return groups
    chosen = tuple(group for group in groups if group.name == only or only in group.venvs)
    if not chosen:
        raise UsageError(
            f"there is no group or venv {only!r}", hint=f"groups: {', '.join(group.name for group in groups)}"
        )
    return chosen


@contextlib.contextmanager
def _fetcher(loaded: LoadedManifest) -> Iterator[Fetch]:
    """Yield how to read an address; the client is made for the first one only."""
    with contextlib.ExitStack() as stack:
        made: list[HttpClient] = []

        def fetch(url: str) -> bytes:
            if not made:
                config = index_config(loaded.manifest, loaded.root, ignore)
                made.append(stack.enter_context(HttpClient(config)))
            return made[0].get(url, limit=MOST_BYTES)

        yield fetch

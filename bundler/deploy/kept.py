"""What a site keeps of every bundle it applied: everything but the volumes, under ``<state>/releases/<id>``.

Rollback, ``why`` and receipts read it; none of them needs the medium.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bundler import files
from bundler.bundle.layout import SUMS
from bundler.bundle.reader import Bundle, open_bundle
from bundler.deploy.places import Places
from bundler.errors import UsageError


def keep_release(places: Places, staged: Path) -> Path:
    """Copy a staged bundle without its volumes; return where to. What was kept of it before is replaced at once.

    Raises:
        SpaceError: There is no room.
        BundleError: It is not complete.
    """
    with open_bundle(staged) as bundle:
        contents = bundle.contents
    volumes = {volume.name for volume in contents.volumes}
    path = places.releases / contents.id
    with files.replacing_directory(path) as directory:
        for entry in sorted(staged.iterdir()):
            if entry.name in volumes or entry.name.startswith("."):
                continue
            with files.replacing(directory / entry.name) as copy, entry.open("rb") as source:
                for piece in files.chunks(source):
                    copy.write(piece)
    return path


def kept_releases(places: Places) -> tuple[str, ...]:
    """Return the ids of the bundles that were kept, sorted."""
    if not places.releases.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in places.releases.iterdir() if (entry / SUMS).is_file()))


@contextlib.contextmanager
def open_kept(places: Places, bundle_id: str) -> Iterator[Bundle]:
    """Open what was kept of a bundle: all of its documents, none of its blobs.

    Raises:
        UsageError: Nothing was kept of it.
    """
    known = kept_releases(places)
    if bundle_id not in known:
        raise UsageError(
            f"this site has not applied {bundle_id!r}", hint=f"it has applied: {', '.join(known) or 'nothing'}"
        )
    with open_bundle(places.releases / bundle_id) as bundle:
        yield bundle

"""The page of a bundle as one of its own files, at the top of the release's directory on a repo host."""

from __future__ import annotations

from dataclasses import replace

from bundler.bundle.writer import BundlePlan, contents_of
from bundler.model.contents import BlobEntry, Contents, VolumeEntry
from bundler.store.cas import Store
from bundler.workflows.page import release_page
from bundler.workflows.page_sources import sources_of
from bundler.workflows.release_files import single


def with_page(plan: BundlePlan, root: str, store: Store) -> BundlePlan:
    """Return ``plan`` with ``index.html`` in ``root``; it shows all that is known before anything is packed.

    Raises:
        FormatError, LockInvalid: The evidence does not parse.
    """
    page = store.put(release_page(_contents(plan), sources_of(dict(plan.evidence))))
    file = single(f"{root}/index.html", page, tuple(sorted(target.name for target in plan.targets)))
    return replace(plan, files=(*plan.files, file), blob_sizes={**plan.blob_sizes, page.digest: page.size})


def _contents(plan: BundlePlan) -> Contents:
    """Return what ``bundle.json`` will say, with a volume that stands for those to come."""
    blobs = tuple(
        BlobEntry(sha256=digest, size=size, offset=0, length=size) for digest, size in sorted(plan.blob_sizes.items())
    )
    return contents_of(plan, (VolumeEntry(name="", target="", size=0, blobs=blobs),))

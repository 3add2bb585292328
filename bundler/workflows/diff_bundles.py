"""Compare two bundles by what their ``bundle.json`` list; no volume is read."""

from __future__ import annotations

from pathlib import Path

from bundler.bundle.reader import open_bundle
from bundler.events import Emit, Warned, ignore
from bundler.model.bundle_diff import BundleDiff, diff_contents


def diff_bundles(old: Path, new: Path, emit: Emit = ignore) -> BundleDiff:
    """Return what changed from the bundle at ``old`` to the one at ``new``, directories or tars.

    Raises:
        BundleError: One of them is not what its SHA256SUMS lists, or makes no sense.
    """
    with open_bundle(old) as before, open_bundle(new) as after:
        if before.contents.name != after.contents.name:
            emit(Warned(message=f"{before.contents.name} and {after.contents.name} are two different releases"))
        elif before.contents.sequence > after.contents.sequence:
            emit(Warned(message=f"{before.contents.id} is the newer of the two", hint="the older one goes first"))
        return diff_contents(before.contents, after.contents)

"""What a site keeps of every bundle it applied: everything but the volumes, under ``<state>/releases/<id>``.

Rollback, ``check``, ``repair``, ``why`` and receipts read it; none of them needs the medium.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from bundler import files
from bundler.bundle.driver import read_signatures
from bundler.bundle.layout import SUMS
from bundler.bundle.medium import open_medium, read_bounded
from bundler.bundle.reader import Bundle, open_bundle
from bundler.deploy.places import Places
from bundler.deploy.trust_store import TrustStore
from bundler.errors import BundleRevoked, UsageError
from bundler.model.contents import MAX_SUMS
from bundler.signing.check import make_judge
from bundler.signing.trust import count


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


def known_digests(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of the list and of each signature of a bundle in a directory, by name; nothing is parsed.

    Raises:
        BundleError: They cannot be read.
    """
    return {name: hashlib.sha256(data).hexdigest() for name, data in _vouching(directory).items()}


def require_trusted(places: Places, bundle_id: str) -> None:
    """Refuse a bundle that this site's trust of today, less what it distrusts, no longer vouches for.

    Nothing was kept of it: each host judges alone.

    Raises:
        BundleRevoked: It was revoked, or is distrusted here.
        SignatureRefused: Too few who signed it still count.
        TrustRefused: Too few signers are left at all.
    """
    if bundle_id not in kept_releases(places):
        return
    store = TrustStore(places)
    trust, policy = store.current(), store.policy()
    found = _vouching(places.releases / bundle_id)
    sums = found.pop(SUMS)
    if hashlib.sha256(sums).hexdigest() in {*trust.document.revoked_bundles, *trust.distrust.bundles}:
        raise BundleRevoked(f"{bundle_id} was revoked", hint="apply a newer bundle")
    judge = make_judge(policy)
    count(policy, [judge(sums, name, data) for name, data in sorted(found.items())])


def _vouching(directory: Path) -> dict[str, bytes]:
    with open_medium(directory) as medium:
        return {SUMS: read_bounded(medium, SUMS, MAX_SUMS), **read_signatures(medium)}

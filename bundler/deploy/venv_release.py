"""Which release the venvs of service hosts come from: the one that repo hosts serve, while this site trusts it."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from bundler.bundle.admission import admit
from bundler.bundle.reader import Bundle
from bundler.deploy.intake import site_view
from bundler.deploy.kept import kept_releases, open_kept, require_trusted
from bundler.deploy.places import Places
from bundler.deploy.receipts import known_hosts_state
from bundler.deploy.state import read_state
from bundler.deploy.trust_store import TrustStore
from bundler.errors import BundleError, TrustError, UsageError
from bundler.model.contents import Contents


def choose_release(places: Places, hosts: Collection[str], wanted: str) -> str:
    """Return the id of the release that is ``wanted``: an id, or a line; without either the only line that is served.

    What is served is what this site last made the repo hosts ``hosts`` serve. The medium that was seen last, or the
    highest sequence, decides nothing: after a rollback it is the wrong one.

    Raises:
        UsageError: There is none, or it is not clear which.
    """
    if wanted in kept_releases(places):
        return wanted
    served = _served(places, hosts)
    if wanted and wanted not in served:
        raise UsageError(
            f"this site has not applied {wanted!r}, and no repo host serves a line of that name",
            hint=f"served are: {', '.join(served) or 'none'}",
        )
    if not wanted and len(served) != 1:
        raise UsageError(
            "the repo hosts serve several lines" if served else "no repo host serves a release of this site",
            hint=f"--release, one of: {', '.join(served)}" if served else "bundle-install apply first",
        )
    return _agreed(served[wanted or next(iter(served))])


def _served(places: Places, hosts: Collection[str]) -> dict[str, dict[str, list[str]]]:
    """Return by line, then by release, the repo hosts that serve it."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for state in known_hosts_state(places):
        for held in state.active if state.name in hosts else ():
            found[held.bundle.rpartition("-")[0]][held.bundle].append(state.name)
    return found


def _agreed(served: Mapping[str, list[str]]) -> str:
    if len(served) > 1:
        each = "; ".join(f"{bundle} on {', '.join(names)}" for bundle, names in sorted(served.items()))
        raise UsageError(f"the repo hosts serve different releases: {each}", hint="say which with --release")
    return next(iter(served))


def require_allowed(places: Places, kept: Bundle) -> None:
    """Refuse a release that this site would not take today.

    Older than another one it may be: that is what a rollback makes of it.

    Raises:
        BundleRevoked: It was revoked, or is distrusted here.
        SignatureRefused, TrustRefused: Too few who signed it still count.
        SequenceRefused: It is below a floor.
    """
    require_trusted(places, kept.contents.id)
    require_admitted(places, kept.contents, kept.digest)


def require_admitted(places: Places, contents: Contents, digest: str) -> None:
    """Refuse a bundle, whatever its signatures, that was revoked, is below a floor, or contradicts what was seen.

    Raises:
        BundleRevoked, SequenceRefused, EquivocationRefused: So it is.
    """
    view = site_view(contents, TrustStore(places).current(), read_state(places), None)
    admit(contents, digest, replace(view, seen=None))


def refused_archives(places: Places) -> frozenset[str]:
    """Return the SHA-256 of the venv archives that only releases have that this site would not take today.

    Of releases that were pruned here, or are damaged, nothing is known.
    """
    allowed: set[str] = set()
    refused: set[str] = set()
    for bundle_id in kept_releases(places):
        with contextlib.suppress(BundleError), open_kept(places, bundle_id) as kept:
            archives = {kept.file(venv.archive).sha256 for venv in kept.contents.venvs}
            (allowed if _is_allowed(places, kept) else refused).update(archives)
    return frozenset(refused - allowed)


def _is_allowed(places: Places, kept: Bundle) -> bool:
    with contextlib.suppress(TrustError, BundleError):
        require_allowed(places, kept)
        return True
    return False


@contextlib.contextmanager
def open_release(places: Places, hosts: Collection[str], wanted: str) -> Iterator[Bundle]:
    """Open what was kept of the release that :func:`choose_release` chooses.

    Raises:
        UsageError: There is none, or nothing was kept of it.
    """
    with open_kept(places, choose_release(places, hosts, wanted)) as kept:
        yield kept

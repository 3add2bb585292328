"""The signed part of a release on a repo host: in what does it differ from what was signed? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bundler.bundle.layout import SIGNATURE, SUMS
from bundler.errors import SignatureRefused, ToolMissing, TrustMissing
from bundler.repohost.port import Difference
from bundler.repohost.releases import SignedPart

#: These say nothing of the files: nobody could judge them.
_UNJUDGED = (TrustMissing.exit_code, ToolMissing.exit_code)


def signed_differences(
    bundle_id: str, part: SignedPart, known: Mapping[str, str] | None = None
) -> tuple[Difference, ...]:
    """Return how the signed part of a release differs from what was signed.

    ``known`` are the digests of list and signatures that this site has, by name. Signatures that are as they were and
    do not count any more are no difference: trust has changed, not the host.
    """
    place = f".bundles/releases/{bundle_id}/signed"
    found = {name: Difference(kind=kind, path=f"{place}/{name}", detail="damaged") for kind, name in part.faults}
    if known and part.digests.get(SUMS, known[SUMS]) != known[SUMS]:
        detail = "not the list of which this site keeps a copy"
        found[SUMS] = Difference(kind="changed", path=f"{place}/{SUMS}", detail=detail)
    if not found:
        found = {one.path: one for one in _refused(place, part, known or {})}
    return tuple(found[name] for name in sorted(found))


def _refused(place: str, part: SignedPart, known: Mapping[str, str]) -> Iterator[Difference]:
    """Yield what makes the host refuse a part whose tables are right."""
    if part.status in (0, *_UNJUDGED):
        return
    if part.status != SignatureRefused.exit_code:
        yield Difference(kind="changed", path=place, detail=part.why)
        return
    for name, digest in known.items():
        if SIGNATURE.fullmatch(name) and part.digests.get(name) != digest:
            kind = "changed" if name in part.digests else "removed"
            yield Difference(kind=kind, path=f"{place}/{name}", detail=part.why)  # type: ignore[arg-type]
    if not known and not any(SIGNATURE.fullmatch(name) for name in part.digests):
        yield Difference(kind="removed", path=place, detail=part.why)

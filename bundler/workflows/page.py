"""Write a bundle as one HTML page beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundler.attest.page import page_of
from bundler.bundle.layout import SUMS
from bundler.bundle.medium import read_bounded
from bundler.bundle.reader import Bundle, open_bundle
from bundler.errors import UsageError
from bundler.events import Emit, ignore
from bundler.files import sha256_of, write
from bundler.model.bundle_diff import BundleDiff
from bundler.model.contents import MAX_SIGNATURE, MAX_SUMS, Contents
from bundler.model.inspection import Inspection, measure, view_targets, view_venvs
from bundler.model.page_facts import PageFacts, PageSignature, PageSources, list_packages
from bundler.signing.check import make_judge
from bundler.version import own_version
from bundler.workflows.diff_bundles import diff_bundles
from bundler.workflows.inspect_bundle import InspectRequest, inspect_bundle
from bundler.workflows.page_sources import sources_of
from bundler.workflows.verify import VerifyRequest, load_policy, verify


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """The bundle, the one before it, where the page goes; with ``policy`` the bundle is verified first."""

    bundle: Path
    previous: Path | None = None
    out: Path | None = None
    policy: VerifyRequest | None = None


@dataclass(frozen=True, kw_only=True)
class WrittenPage:
    """The page that was written, with its bytes' number and digest."""

    path: Path
    size: int
    sha256: str
    facts: PageFacts


def write_page(request: PageRequest, emit: Emit = ignore) -> WrittenPage:
    """Write the page of a bundle; no volume is read but to verify it.

    Raises:
        TrustError: With a policy: it is not signed as that asks.
        BundleError: The bundle, or the previous one, is damaged or makes no sense.
        UsageError: The page would lie inside the bundle.
    """
    signed = ""
    if request.policy is not None:
        signed = verify(request.policy, emit).digest
    found = inspect_bundle(InspectRequest(bundle=request.bundle))
    out = request.out or request.bundle.absolute().parent / f"{found.contents.id}.html"
    _check(out, request.bundle)
    diff = diff_bundles(request.previous, request.bundle, emit) if request.previous is not None else None
    with open_bundle(request.bundle) as bundle:
        if bundle.digest != (signed or found.digest):
            raise UsageError(f"{request.bundle} was replaced while it was read", hint="run it again")
        facts = _facts(bundle, found, diff, request.policy)
    page = page_of(facts)
    write(out, page)
    return WrittenPage(path=out, size=len(page), sha256=hashlib.sha256(page).hexdigest(), facts=facts)


def release_page(contents: Contents, sources: PageSources) -> bytes:
    """Return the page that a bundle itself carries: all but what is known only once it is packed and signed.

    Of the volumes only the sizes of their blobs are used.
    """
    return page_of(
        PageFacts(
            bundle=Inspection(
                contents=contents,
                digest="",
                targets=view_targets(contents),
                venvs=view_venvs(contents),
                volumes=(),
                signatures=(),
                sizes=measure(contents),
            ),
            packages=list_packages(contents, sources, None),
            accepted=sources.accepted,
            lock=sources.lock,
            tool=own_version(),
            inside=True,
        )
    )


def _check(out: Path, bundle: Path) -> None:
    if out.is_dir():
        raise UsageError(f"{out} is a directory", hint="name a file, such as page.html in it")
    place = bundle.resolve()
    if place in (out.resolve(), *out.resolve().parents):
        raise UsageError(
            f"{out} would be part of the bundle", hint="its list is signed: write the page beside it, not into it"
        )


def _facts(bundle: Bundle, found: Inspection, diff: BundleDiff | None, policy: VerifyRequest | None) -> PageFacts:
    sources = sources_of(bundle.evidence())
    return PageFacts(
        bundle=found,
        packages=list_packages(found.contents, sources, diff),
        accepted=sources.accepted,
        lock=sources.lock,
        tool=own_version(),
        signatures=tuple(_judged(bundle, found, policy) if policy else _stated(found)),
        rule=_rule(policy) if policy else "",
        diff=diff,
    )


def _stated(found: Inspection) -> Iterator[PageSignature]:
    for one in found.signatures:
        yield PageSignature(name=one.name, signer=one.signer, key=one.key, standing="stated", detail=one.problem)


def _judged(bundle: Bundle, found: Inspection, request: VerifyRequest) -> Iterator[PageSignature]:
    """Yield what the policy makes of each signature; that there are enough was found out before."""
    judge = make_judge(load_policy(request))
    sums = read_bounded(bundle.medium, SUMS, MAX_SUMS)
    for one in found.signatures:
        verdict = judge(sums, one.name, read_bounded(bundle.medium, one.name, MAX_SIGNATURE))
        yield PageSignature(
            name=one.name,
            signer=verdict.principal or one.signer,
            key=one.key,
            standing="verified" if verdict.principal else "refused",
            detail=verdict.reason,
        )


def _rule(request: VerifyRequest) -> str:
    signers = f"{request.threshold} signer{'' if request.threshold == 1 else 's'} needed"
    digest = sha256_of(request.allowed_signers)
    return (
        f"{signers}, by {request.allowed_signers.name} with SHA-256 {digest}; every file of the bundle was compared"
    )

"""Take a bundle in at a site: from media of unknown origin to checked contents, or to private copies of them.

The order is that of :mod:`bundler.bundle.verification`. Nothing here raises the highest sequence seen: whoever
activates does that, last.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundler.bundle.admission import SiteView, admit, carried_part, carried_targets
from bundler.bundle.deep import decode
from bundler.bundle.driver import (
    coming_bytes,
    default_workers,
    feed_contents,
    feed_files,
    feed_names,
    feed_trusted,
)
from bundler.bundle.layout import BUNDLE_JSON
from bundler.bundle.medium import open_medium
from bundler.bundle.reader import Bundle
from bundler.bundle.sticks import Ask, Sticks, open_media
from bundler.bundle.verification import Verification, Verified
from bundler.clock import now
from bundler.deploy.audit import AuditLog
from bundler.deploy.places import Places
from bundler.deploy.staging import Staging
from bundler.deploy.state import SiteState, hold, read_state
from bundler.deploy.trust_store import Trust, TrustStore
from bundler.errors import BundlerError
from bundler.events import Emit, Warned, ignore
from bundler.model.contents import Contents
from bundler.model.site import Site
from bundler.signing import sshkeygen
from bundler.signing.check import make_judge


@dataclass(frozen=True, kw_only=True)
class IntakeRequest:
    """The media, and where the site's trust and state lie. ``site`` None: no targets, no limits are known.

    ``copy``: into private staging, by a run that holds the site; otherwise nothing of the bundle is written. New
    trust documents are kept in any case. ``deep``: decode everything too, which reads twice.
    """

    media: tuple[Path, ...]
    places: Places
    site: Site | None
    copy: bool
    deep: bool = False


@dataclass(frozen=True, kw_only=True)
class TakenIn:
    """A bundle that this site takes. ``targets``: those of the site that it has; ``path``: its private copy.

    ``trust_versions``: the trust documents that came with it and were new.
    """

    verified: Verified
    targets: tuple[str, ...]
    path: Path | None
    trust_versions: tuple[int, ...]
    warnings: tuple[Warned, ...]


def take_in(request: IntakeRequest, emit: Emit = ignore, ask: Ask | None = None) -> TakenIn:
    """Verify and admit a bundle, and copy it if that is asked for. The audit log gets the outcome.

    Raises:
        TrustMissing: The site has no trust yet; nothing is logged then.
        TrustError: It is not signed as the site's trust asks, or it is older, revoked, contradicted by what was seen.
        BundleError: It is not what was signed, makes no sense, or is not for this site; or there is no room.
    """
    TrustStore(request.places).current()
    log = AuditLog(request.places.log)
    facts: dict[str, Any] = {"media": [str(path) for path in request.media], "copied": request.copy}
    try:
        taken = _take_in(request, emit, ask, facts)
    except BundlerError as error:
        log.append("refused", {**facts, "rule": error.rule, "exit_code": error.exit_code, "message": error.message})
        raise
    signers = list(taken.verified.quorum.signers)
    single = facts["threshold"] == 1
    log.append("verified", {**facts, "signers": signers, "targets": list(taken.targets), "single_signer": single})
    if single:
        warning = Warned(
            message=f"one signer is enough at this site: signed by {', '.join(signers)} (single signer)"
            if len(signers) > 1
            else f"one signer is enough at this site: {signers[0]} alone vouches for it (single signer)"
        )
        emit(warning)
        taken = replace(taken, warnings=(*taken.warnings, warning))
    return taken


def _new_trust(request: IntakeRequest, store: TrustStore, emit: Emit) -> tuple[int, ...]:
    """Keep the new trust documents of the media. Whoever copies holds the site already; others do meanwhile."""
    version = store.current().document.version
    if all(max(store.available(path), default=0) <= version for path in request.media):
        return tuple(number for path in request.media for number in store.update(path, emit))
    with nullcontext() if request.copy else hold(request.places):
        return tuple(number for path in request.media for number in store.update(path, emit))


def _take_in(request: IntakeRequest, emit: Emit, ask: Ask | None, facts: dict[str, Any]) -> TakenIn:
    # 1: trust first: a bundle may be signed by whom only the newest document trusts.
    store = TrustStore(request.places)
    versions = _new_trust(request, store, emit)
    trust, policy = store.current(), store.policy()
    facts |= {"trust_version": trust.document.version, "threshold": policy.threshold}
    if not sshkeygen.available():
        emit(Warned(message="ssh-keygen is not installed: only our own verifier judges the signatures"))
    targets = request.site.all_targets if request.site else ()
    verification = Verification(targets or None)
    # What is decoded after it was hashed must stay where it is.
    asked = ask if request.copy or not request.deep else None
    with open_media(request.media, asked) as sticks:
        # 2, 3, 4
        head = feed_trusted(verification, sticks, policy, make_judge(policy))
        facts["sha256sums"] = verification.digest
        # 5
        contents, head[BUNDLE_JSON] = feed_contents(verification, sticks)
        facts["bundle"] = contents.id
        # 6
        view = site_view(contents, trust, read_state(request.places), request.site)
        warnings = admit(contents, verification.digest, view)
        for warning in warnings:
            emit(warning)
        # 5: nothing unlisted, nothing irregular; what is missing was copied before, or may come on another stick
        feed_names(verification, sticks)
        staging = Staging(request.places, verification.digest) if request.copy else None
        if staging:
            staging.open()
            verification.accept_copies(staging.names())
        if not sticks.can_ask:
            verification.expect_all()
        # 7
        if staging:
            _make_room(staging, verification, sticks, head)
            staging.keep(head)
        # 8, 9
        feed_files(verification, sticks, emit, take=staging.take if staging else None, more=sticks.more)
        verified = verification.verified()
        if request.deep:
            _decode(staging, sticks, replace(verified, contents=carried_part(contents, targets)), emit)
    carried = carried_targets(contents, targets)
    return TakenIn(
        verified=verified,
        targets=carried,
        path=staging.path if staging else None,
        trust_versions=versions,
        warnings=warnings,
    )


def site_view(contents: Contents, trust: Trust, state: SiteState, site: Site | None) -> SiteView:
    """Return what decides about a bundle of this name and version at this site."""
    line = f"{contents.name}-{contents.version}"
    seen = state.seen.get(line)
    digests = {}
    for key, digest in state.digests.items():
        place, epoch, sequence = key.rsplit("/", 2)
        if place == line:
            digests[int(epoch), int(sequence)] = digest
    document = trust.document
    return SiteView(
        targets=site.all_targets if site else (),
        epoch=document.epochs.get(contents.name, 0),
        trust_floor=document.floors.get(contents.name, 0),
        floor=state.floors.get(line, 0),
        seen=(seen.epoch, seen.sequence, seen.digest) if seen else None,
        digests=digests,
        held=frozenset(state.digests.values()),
        revoked=frozenset((*document.revoked_bundles, *trust.distrust.bundles)),
        time_floor=state.created,
        max_age_days=site.limits.max_age_days if site else 0,
        now=now(),
    )


def _make_room(staging: Staging, verification: Verification, sticks: Sticks, head: Mapping[str, bytes]) -> None:
    coming = [*verification.pending, *verification.missing, *head]
    size = coming_bytes(verification, sticks) + sum(map(len, head.values()))
    staging.announce(size=size, files=len(coming))


def _decode(staging: Staging | None, sticks: Sticks, verified: Verified, emit: Emit) -> None:
    """Decode everything that was checked, from the copy if there is one."""
    with open_medium(staging.path) if staging else nullcontext(sticks) as medium:
        bundle = Bundle(medium, verified.contents, verified.digest)
        decode(bundle, default_workers(), emit)

"""Check a bundle: signatures, digests, structure, proofs; with ``deep`` also everything inside the volumes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.bundle.deep import decode
from bundler.bundle.driver import default_workers, feed_contents, feed_files, feed_names, feed_trusted
from bundler.bundle.layout import NAMESPACE
from bundler.bundle.reader import Bundle
from bundler.bundle.sticks import Ask, open_media
from bundler.bundle.verification import Verification, Verified
from bundler.errors import UsageError
from bundler.events import Emit, Warned, ignore
from bundler.signing import sshkeygen
from bundler.signing.allowed_signers import MAX_SIZE, parse_allowed_signers, parse_revoked
from bundler.signing.check import make_judge
from bundler.signing.trust import Policy


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """The bundle (directory or tar), who is trusted, how many must have signed, and how deep to look.

    ``others``: further media that carry parts of the same bundle.
    """

    bundle: Path
    allowed_signers: Path
    others: tuple[Path, ...] = ()
    revoked: Path | None = None
    threshold: int = 1
    deep: bool = False


def verify(request: VerifyRequest, emit: Emit = ignore, ask: Ask | None = None) -> Verified:
    """Return the bundle's verified contents and who signed it. All of it must be there; ``ask`` brings more media.

    Raises:
        TrustError: It is not signed as the policy asks.
        BundleError: It is not what was signed, or makes no sense.
    """
    policy = load_policy(request)
    if not sshkeygen.available():
        emit(Warned(message="ssh-keygen is not installed: only our own verifier judges the signatures"))
    verification = Verification()
    # What is decoded after it was hashed must stay where it is.
    asked = None if request.deep else ask
    with open_media((request.bundle, *request.others), asked) as medium:
        feed_trusted(verification, medium, policy, make_judge(policy))
        feed_contents(verification, medium)
        feed_names(verification, medium)
        if not medium.can_ask:
            verification.expect_all()
        feed_files(verification, medium, emit, more=medium.more)
        verified = verification.verified()
        if request.deep:
            decode(Bundle(medium, verified.contents, verified.digest), default_workers(), emit)
    return verified


def load_policy(request: VerifyRequest) -> Policy:
    """Read who is trusted and who no longer is.

    Raises:
        UsageError: A file cannot be read, or the threshold cannot be reached.
        FormatError: A file is malformed.
    """
    signers = parse_allowed_signers(_read(request.allowed_signers), str(request.allowed_signers))
    revoked = frozenset[bytes]()
    if request.revoked is not None:
        revoked = parse_revoked(_read(request.revoked), str(request.revoked))
    return Policy(signers=signers, namespace=NAMESPACE, threshold=request.threshold, revoked=revoked)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_SIZE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error

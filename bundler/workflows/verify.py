"""Check a bundle: signatures, digests, structure, proofs; with ``deep`` also everything inside the volumes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.bundle.deep import check_deep
from bundler.bundle.driver import default_workers, feed_files, feed_meaning, feed_trusted
from bundler.bundle.layout import NAMESPACE
from bundler.bundle.medium import open_medium
from bundler.bundle.reader import Bundle
from bundler.bundle.verification import Verification, Verified
from bundler.clock import stopwatch
from bundler.errors import UsageError
from bundler.events import Emit, StageAdvanced, StageFinished, StageStarted, Warned, ignore
from bundler.signing import sshkeygen
from bundler.signing.allowed_signers import MAX_SIZE, parse_allowed_signers, parse_revoked
from bundler.signing.check import make_judge
from bundler.signing.trust import Policy

_STAGE = "verify"


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """The bundle (directory or tar), who is trusted, how many must have signed, and how deep to look."""

    bundle: Path
    allowed_signers: Path
    revoked: Path | None = None
    threshold: int = 1
    deep: bool = False


def verify(request: VerifyRequest, emit: Emit = ignore) -> Verified:
    """Return the bundle's verified contents and who signed it.

    Raises:
        TrustError: It is not signed as the policy asks.
        BundleError: It is not what was signed, or makes no sense.
    """
    started = stopwatch()
    policy = load_policy(request)
    if not sshkeygen.available():
        emit(Warned(message="ssh-keygen is not installed: only our own verifier judges the signatures"))
    verification = Verification()

    def progress(size: int) -> None:
        emit(StageAdvanced(stage=_STAGE, amount=size))

    with open_medium(request.bundle) as medium:
        feed_trusted(verification, medium, policy, make_judge(policy))
        total = feed_meaning(verification, medium)
        emit(StageStarted(stage=_STAGE, total=total, unit="bytes"))
        feed_files(verification, medium, default_workers(), progress)
        verified = verification.verified()
        if request.deep:
            check_deep(Bundle(medium, verified.contents, verified.digest), default_workers(), progress)
    emit(StageFinished(stage=_STAGE, seconds=stopwatch() - started, items=len(verified.contents.files), size=total))
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

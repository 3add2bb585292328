"""Who may sign and how many must: verdicts on single signatures, and the quorum over them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bundler.errors import FormatError, Problem, SignatureRefused, UsageError
from bundler.signing import sshsig
from bundler.signing.allowed_signers import AllowedSigner


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The trusted signers, how many distinct ones must have signed, and keys that no longer count."""

    signers: tuple[AllowedSigner, ...]
    namespace: str
    threshold: int = 1
    revoked: frozenset[bytes] = frozenset()

    def __post_init__(self) -> None:
        able = {signer.principal for signer in self.signers if self.namespace in signer.namespaces}
        if not 1 <= self.threshold <= max(1, len(able)):
            raise UsageError(
                f"{self.threshold} signers are asked for, {len(able)} are trusted for {self.namespace}",
                hint="the threshold is from 1 to the number of trusted signers",
            )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one signature file is worth: a principal, or the reason why it does not count."""

    file: str
    principal: str = ""
    reason: str = ""


#: Judges the signature in a file (name, bytes) over a message.
Judge = Callable[[bytes, str, bytes], Verdict]


@dataclass(frozen=True, kw_only=True)
class Quorum:
    """Enough signatures: the distinct signers, and what did not count and why."""

    signers: tuple[str, ...]
    uncounted: tuple[str, ...]


def judge(policy: Policy, message: bytes, file: str, armored: bytes) -> Verdict:
    """Return what our own verifier thinks of one signature. File names prove nothing: the key names the signer."""
    try:
        signature = sshsig.parse_signature(armored)
        signer = next((entry for entry in policy.signers if entry.key.blob == signature.key.blob), None)
        if signer is None:
            return Verdict(file=file, reason=f"its key {signature.key.fingerprint} is not trusted")
        sshsig.verify(message, signature, policy.namespace)
    except (FormatError, SignatureRefused) as error:
        return Verdict(file=file, reason=error.message)
    if policy.namespace not in signer.namespaces:
        return Verdict(file=file, reason=f"{signer.principal} is not trusted for {policy.namespace}")
    if signature.key.blob in policy.revoked:
        return Verdict(file=file, reason=f"the key of {signer.principal} is revoked")
    return Verdict(file=file, principal=signer.principal)


def count(policy: Policy, verdicts: Sequence[Verdict]) -> Quorum:
    """Return the quorum.

    Raises:
        SignatureRefused: Fewer distinct signers than the policy asks for; says why each signature does not count.
    """
    signers: list[str] = []
    problems: list[Problem] = []
    for verdict in verdicts:
        if verdict.principal and verdict.principal not in signers:
            signers.append(verdict.principal)
        else:
            reason = verdict.reason or f"{verdict.principal} has signed already: one signer counts once"
            problems.append(Problem(where=verdict.file, what=reason))
    if len(signers) < policy.threshold:
        why = f": {problems[0]}" if problems else ": there is no signature" if not verdicts else ""
        raise SignatureRefused(
            f"{len(signers)} of {policy.threshold} required signers{why}",
            hint="do not install it; ask whoever sent the bundle",
            problems=problems,
        )
    return Quorum(signers=tuple(sorted(signers)), uncounted=tuple(str(problem) for problem in problems))

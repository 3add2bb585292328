"""Both verifiers on one signature: ours and ssh-keygen. Different verdicts are refused, whichever says yes.

ssh-keygen lets bytes around a signature pass, and signatures of tokens that nobody touched. We do not, on purpose:
such a signature does not count, and that is no disagreement.
"""

from __future__ import annotations

from functools import partial

from bundler.errors import FormatError, SignatureRefused, VerifiersDisagree
from bundler.signing import sshkeygen, sshsig, trust
from bundler.signing.trust import Judge, Policy, Verdict


def make_judge(policy: Policy) -> Judge:
    """Return the judge for ``policy``: both verifiers where this host has ssh-keygen, else ours alone."""
    return partial(_both if sshkeygen.available() else trust.judge, policy)


def _both(policy: Policy, message: bytes, file: str, armored: bytes) -> Verdict:
    ours = trust.judge(policy, message, file, armored)
    try:
        sshsig.check_touch(sshsig.parse_signature(armored))
    except (FormatError, SignatureRefused):
        return ours
    theirs = sshkeygen.judge(policy, message, file, armored)
    if ours.principal != theirs.principal:
        raise VerifiersDisagree(
            f"{file}: we say {ours.principal or ours.reason}, ssh-keygen says {theirs.principal or theirs.reason}",
            hint="do not install it; keep the bundle and report it: one of the two is wrong",
        )
    return ours

"""Signed documents that travel by themselves: a file, and beside it ``<file>.sig``, as ssh-keygen(1) names it.

    ssh-keygen -Y verify -f allowed_signers -I alice -n constraints@offline -s tested.txt.sig < tested.txt

says with stock tools what :func:`check_document` says.
"""

from __future__ import annotations

from pathlib import Path

from bundler.errors import SignatureRefused
from bundler.signing.allowed_signers import AllowedSigner
from bundler.signing.check import make_judge
from bundler.signing.trust import Policy

#: Namespace of published constraints (PROTOCOL.sshsig).
NAMESPACE = "constraints@offline"
SUFFIX = ".sig"


def signature_of(path: Path) -> Path:
    """Return where the signature of a document is."""
    return path.with_name(path.name + SUFFIX)


def check_document(data: bytes, armored: bytes, signers: tuple[AllowedSigner, ...], name: str) -> str:
    """Return who signed ``data``; ``name`` is what messages call it.

    Raises:
        SignatureRefused: None of ``signers`` did, for this namespace.
    """
    able = tuple(signer for signer in signers if NAMESPACE in signer.namespaces)
    if not able:
        raise SignatureRefused(
            f"{name}: nobody is trusted for {NAMESPACE}",
            hint=f'write NAME namespaces="{NAMESPACE}" KEYTYPE KEY into the file of signers',
        )
    verdict = make_judge(Policy(signers=signers, namespace=NAMESPACE))(data, name + SUFFIX, armored)
    if not verdict.principal:
        raise SignatureRefused(
            f"{name} is not signed as asked: {verdict.reason}", hint="ask whoever published it; do not use it"
        )
    return verdict.principal

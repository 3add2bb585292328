"""What ``trust.json`` says: who may sign, how many must, and what no longer counts.

A trust document travels as a directory ``trust-NNNN`` with its own ``SHA256SUMS`` and signatures of root keys
(namespace ``trust@offline``). What POSIX sh needs of it lies beside it in plain text, made from it and compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["root", "bundle"]
#: Namespace of signatures over trust documents (PROTOCOL.sshsig).
TRUST_NAMESPACE = "trust@offline"
RECEIPT_NAMESPACE = "receipt@offline"
TRUST_JSON = "trust.json"
ROOT_SIGNERS = "allowed_signers.root"
BUNDLE_SIGNERS = "allowed_signers.bundle"
REVOKED_KEYS = "revoked_keys"
#: Lines ``version N``, ``threshold root N``, ``threshold bundle N``, ``epoch NAME N``, ``floor NAME N``,
#: ``revoked-bundle SHA256``, sorted: what a repo host reads of the document.
POLICY = "policy.txt"
TRUST_FILES = (BUNDLE_SIGNERS, POLICY, REVOKED_KEYS, ROOT_SIGNERS, TRUST_JSON)


def trust_directory(version: int) -> str:
    """Return the directory name of a version, ``trust-0001``."""
    return f"trust-{version:04d}"


@dataclass(frozen=True, kw_only=True)
class TrustedSigner:
    """A principal: one person or machine, with the public keys (``ssh-ed25519 AAAA…``) that count as theirs."""

    name: str
    role: Role
    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrustDocument:
    """One version. ``epochs`` reset sequences of a bundle name, ``floors`` are the oldest sequences still taken.

    ``revoked_bundles`` are SHA-256 of SHA256SUMS.
    """

    version: int
    signers: tuple[TrustedSigner, ...]
    root_threshold: int = 1
    bundle_threshold: int = 1
    epochs: Mapping[str, int] = field(default_factory=dict)
    floors: Mapping[str, int] = field(default_factory=dict)
    revoked_keys: tuple[str, ...] = ()
    revoked_bundles: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Distrust:
    """What this site no longer trusts, whatever the document says. It only takes away.

    Signers by name, in either role; keys by fingerprint, ``SHA256:…``; bundles by SHA-256 of SHA256SUMS.
    """

    signers: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    bundles: tuple[str, ...] = ()

"""How a trust document is shown, on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bundler.cli.context import Output
from bundler.model.trust import Distrust, TrustDocument
from bundler.signing.keys import parse_public_key

_GROUP = 8


def groups(digest: str) -> str:
    """Return a digest as people compare it: groups of eight digits."""
    return " ".join(digest[at : at + _GROUP] for at in range(0, len(digest), _GROUP))


def trust_value(document: TrustDocument, digest: str, distrust: Distrust | None = None) -> dict[str, Any]:
    """Return a document for JSON output."""
    value: dict[str, Any] = {
        "version": document.version,
        "sha256sums": digest,
        "thresholds": {"root": document.root_threshold, "bundle": document.bundle_threshold},
        "signers": [
            {"name": one.name, "role": one.role, "keys": [parse_public_key(key).fingerprint for key in one.keys]}
            for one in document.signers
        ],
        "epochs": dict(document.epochs),
        "floors": dict(document.floors),
        "revoked_keys": [parse_public_key(key).fingerprint for key in document.revoked_keys],
        "revoked_bundles": list(document.revoked_bundles),
    }
    if distrust is not None:
        value["distrust"] = {
            "signers": list(distrust.signers), "keys": list(distrust.keys), "bundles": list(distrust.bundles)
        }  # fmt: skip
    return value


def show_trust(output: Output, document: TrustDocument, digest: str, distrust: Distrust | None = None) -> None:
    """Write a document for people."""
    output.out(f"trust {document.version}, SHA256SUMS {groups(digest)}")
    rows = [
        (one.role, one.name, parse_public_key(key).kind, parse_public_key(key).fingerprint)
        for one in sorted(document.signers, key=lambda one: (one.role != "root", one.name))
        for key in one.keys
    ]
    output.table("", ("role", "signer", "key type", "fingerprint"), rows)
    for role, threshold in (("root", document.root_threshold), ("bundle", document.bundle_threshold)):
        count = len({one.name for one in document.signers if one.role == role})
        single = "  (single signer)" if threshold == 1 else ""
        what = "the next trust document" if role == "root" else "a bundle"
        output.out(f"{threshold} of {count} {role} signers must sign {what}{single}")
    for line in (*_limits(document), *_taken(distrust or Distrust())):
        output.out(line)


def _limits(document: TrustDocument) -> Iterator[str]:
    for word, values in (("epoch", document.epochs), ("floor", document.floors)):
        yield from (f"{word} of {name}: {value}" for name, value in values.items())
    yield from (f"revoked key: {parse_public_key(key).fingerprint}" for key in document.revoked_keys)
    yield from (f"revoked bundle: {bundle}" for bundle in document.revoked_bundles)


def _taken(distrust: Distrust) -> Iterator[str]:
    for word, names in (("signer", distrust.signers), ("key", distrust.keys), ("bundle", distrust.bundles)):
        yield from (f"distrusted here: {word} {name}" for name in names)

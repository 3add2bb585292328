"""``trust.json`` and the plain text that is made from it; ``distrust.json``. Strict both ways."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable

from bundler.errors import FormatError, Problem
from bundler.model.json_fields import Fields, Node, load_json
from bundler.model.trust import (
    BUNDLE_SIGNERS,
    POLICY,
    REVOKED_KEYS,
    ROOT_SIGNERS,
    TRUST_JSON,
    TRUST_NAMESPACE,
    Distrust,
    Role,
    TrustDocument,
    TrustedSigner,
)

FORMAT = 1
#: Caps on what is read before it is trusted.
MAX_TRUST_JSON = 1 << 20
MAX_VERSION = 9999
BUNDLE_NAMESPACE = "bundle@offline"
_SIGNER = re.compile(r"[a-z0-9-]{1,32}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]{0,99}")
#: A key as ssh-keygen -l shows it.
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
#: A key type and its base64; the comment is left out.
_KEY = re.compile(r"[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{16,4096}={0,2}")
_KEYS = frozenset(
    {"format", "version", "signers", "thresholds", "epochs", "floors", "revoked_keys", "revoked_bundles"}
)


def parse_trust(data: bytes) -> TrustDocument:
    """Return what ``trust.json`` says.

    Raises:
        FormatError: It is too large, malformed, or contradicts itself; lists every contradiction.
    """
    if len(data) > MAX_TRUST_JSON:
        raise FormatError(f"{TRUST_JSON} is larger than {MAX_TRUST_JSON} bytes")
    fields = load_json(data, TRUST_JSON)
    unknown = sorted(set(fields.values) - _KEYS)
    if unknown:
        raise FormatError(f"{TRUST_JSON}: {unknown[0]!r} is not known", hint="a newer bundle-install may know it")
    if fields.node("format").integer() != FORMAT:
        raise FormatError(f"{TRUST_JSON}: format {fields.node('format').value} is not known")
    thresholds = fields.node("thresholds").fields()
    document = TrustDocument(
        version=fields.node("version").integer(),
        signers=fields.node("signers").each(_signer),
        root_threshold=thresholds.node("root").integer(),
        bundle_threshold=thresholds.node("bundle").integer(),
        epochs=_numbers(fields, "epochs"),
        floors=_numbers(fields, "floors"),
        revoked_keys=fields.node("revoked_keys").each(lambda node: node.text(_KEY)),
        revoked_bundles=fields.node("revoked_bundles").each(Node.digest),
    )
    check_trust(document)
    return document


def _signer(node: Node) -> TrustedSigner:
    fields = node.fields()
    role: Role = "root" if fields.node("role").text(re.compile("root|bundle")) == "root" else "bundle"
    keys = fields.node("keys").each(lambda key: key.text(_KEY))
    return TrustedSigner(name=fields.node("name").text(_SIGNER), role=role, keys=keys)


def _numbers(fields: Fields, name: str) -> dict[str, int]:
    found = fields.node(name).fields(name)
    for key in found.values:
        if _NAME.fullmatch(key) is None:
            raise FormatError(f"{name}: {key!r} is no name of a bundle")
    return {key: found.node(key).integer() for key in sorted(found.values)}


def check_trust(document: TrustDocument) -> None:
    """Refuse a document that cannot be meant.

    Raises:
        FormatError: Listing every problem.
    """
    problems = list(_problems(document))
    if problems:
        raise FormatError(f"trust {document.version}: {problems[0]}", problems=problems)


def _problems(document: TrustDocument) -> Iterable[Problem]:
    if not 1 <= document.version <= MAX_VERSION:
        yield Problem(where="version", what=f"must be from 1 to {MAX_VERSION}")
    for (name, role), count in Counter((signer.name, signer.role) for signer in document.signers).items():
        if count > 1:
            yield Problem(where=name, what=f"is listed twice as a {role} signer")
    for role, threshold in (("root", document.root_threshold), ("bundle", document.bundle_threshold)):
        # A key that is listed and revoked does not count.
        listed = [signer for signer in document.signers if signer.role == role]
        able = [signer.name for signer in listed if set(signer.keys) - set(document.revoked_keys)]
        if not 1 <= threshold <= len(able):
            yield Problem(where=f"thresholds.{role}", what=f"{threshold} of {len(able)} {role} signers cannot be")
    yield from _key_problems(document)


def _key_problems(document: TrustDocument) -> Iterable[Problem]:
    owners = _owners(document)
    for key, signers in owners.items():
        if len(signers) > 1:
            names = sorted({signer.name for signer in signers})
            apart = len({signer.role for signer in signers}) > 1
            hint = "root keys are kept apart from keys that sign bundles" if apart else ""
            yield Problem(where=f"key …{key[-12:]}", what=f"{' and '.join(names)}: one key, twice", hint=hint)


def _owners(document: TrustDocument) -> dict[str, list[TrustedSigner]]:
    found: dict[str, list[TrustedSigner]] = {}
    for signer in document.signers:
        for key in signer.keys:
            found.setdefault(key, []).append(signer)
    return found


def format_trust(document: TrustDocument) -> bytes:
    """Return ``trust.json``; the same document gives the same bytes."""
    value = {
        "format": FORMAT,
        "version": document.version,
        "signers": [
            {"name": signer.name, "role": signer.role, "keys": sorted(signer.keys)}
            for signer in sorted(document.signers, key=lambda signer: (signer.role, signer.name))
        ],
        "thresholds": {"root": document.root_threshold, "bundle": document.bundle_threshold},
        "epochs": dict(document.epochs),
        "floors": dict(document.floors),
        "revoked_keys": sorted(document.revoked_keys),
        "revoked_bundles": sorted(document.revoked_bundles),
    }
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def render(document: TrustDocument) -> dict[str, bytes]:
    """Return all files of the document: ``trust.json`` and the plain text that POSIX sh and ssh-keygen read."""
    return {
        TRUST_JSON: format_trust(document),
        ROOT_SIGNERS: _signers(document, "root", TRUST_NAMESPACE),
        BUNDLE_SIGNERS: _signers(document, "bundle", BUNDLE_NAMESPACE),
        REVOKED_KEYS: "".join(f"{key}\n" for key in sorted(document.revoked_keys)).encode(),
        POLICY: _policy(document),
    }


def _signers(document: TrustDocument, role: Role, namespace: str) -> bytes:
    lines = [
        f'{signer.name} namespaces="{namespace}" {key}\n'
        for signer in document.signers
        if signer.role == role
        for key in signer.keys
    ]
    return "".join(sorted(lines)).encode()


def _policy(document: TrustDocument) -> bytes:
    lines = [
        f"version {document.version}",
        f"threshold root {document.root_threshold}",
        f"threshold bundle {document.bundle_threshold}",
        *(f"epoch {name} {value}" for name, value in document.epochs.items()),
        *(f"floor {name} {value}" for name, value in document.floors.items()),
        *(f"revoked-bundle {digest}" for digest in document.revoked_bundles),
    ]
    return "".join(f"{line}\n" for line in sorted(lines)).encode()


def parse_distrust(data: bytes) -> Distrust:
    """Return what ``distrust.json`` says.

    Raises:
        FormatError: It is malformed: what is not understood would not be taken away.
    """
    fields = load_json(data, "distrust.json")
    unknown = sorted(set(fields.values) - {"signers", "keys", "bundles"})
    if unknown:
        raise FormatError(f"distrust.json: {unknown[0]!r} is not known")
    return Distrust(
        signers=fields.node("signers").each(lambda node: node.text(_SIGNER)),
        keys=fields.node("keys").each(lambda node: node.text(FINGERPRINT)),
        bundles=fields.node("bundles").each(Node.digest),
    )


def format_distrust(distrust: Distrust) -> bytes:
    """Return ``distrust.json``."""
    value = {name: sorted(set(getattr(distrust, name))) for name in ("signers", "keys", "bundles")}
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()

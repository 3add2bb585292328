"""The chain of trust documents: each one vouches for the next. Pure but for the judge of single signatures.

1   the first document, version 1, is the one whose SHA256SUMS has the digest that people carried here, and enough
    of its own root signers have signed it
2   a later one is exactly one version on; enough root signers of the one before have signed it, by the rules of
    that one, and enough of its own, by its own rules; whom the site distrusts counts for neither
3   SHA256SUMS names exactly the files of a trust document, and each has its digest
4   trust.json parses, each key in its one form; the plain text files are those that are made from it
5   floors and epochs never fall, except that a new epoch may lower its floor; what was revoked stays revoked
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from bundler.errors import BundlerError, FormatError, Problem, TrustRefused, UsageError
from bundler.model.contents import MAX_SIGNATURE, MAX_SIGNATURES, MAX_SUMS
from bundler.model.sums import OWN as SUMS
from bundler.model.sums import SIGNATURE, parse_sums
from bundler.model.trust import TRUST_FILES, TRUST_JSON, TRUST_NAMESPACE, Distrust, Role, TrustDocument
from bundler.model.trust_json import BUNDLE_NAMESPACE, parse_trust, render
from bundler.signing.allowed_signers import AllowedSigner
from bundler.signing.check import make_judge
from bundler.signing.keys import parse_public_key
from bundler.signing.trust import Policy, Quorum, count

_HINT = "do not use it; ask whoever sent it, by another way than the medium"
_HEX = re.compile(r"[0-9a-f]{64}")


def root_digest(text: str) -> str:
    """Return the digest that a person typed: 64 hexadecimal digits, in groups or not.

    Raises:
        UsageError: Something else.
    """
    digest = re.sub(r"[\s:-]", "", text).lower()
    if _HEX.fullmatch(digest) is None:
        raise UsageError(
            f"{text!r} is no SHA-256 digest", hint="type all 64 hexadecimal digits of the card; blanks do not matter"
        )
    return digest


def bootstrap(files: Mapping[str, bytes], digest: str) -> TrustDocument:
    """Return the document that ``files``, a container by flat name, holds, if it is the one called ``digest``.

    Raises:
        TrustRefused: It is another one, or its own root signers did not sign it.
        FormatError: It is malformed.
    """
    # 1
    found = hashlib.sha256(_file(files, SUMS)).hexdigest()
    if found != digest:
        raise TrustRefused(
            f"this is not the trust document of your card: its digest is {found}",
            hint=f"expected {digest}; compare all digits, and do not go on",
        )
    document = read_document(files)
    if document.version != 1:
        raise TrustRefused(f"the first trust document has version {document.version}", hint="it must be 1")
    check_quorum(document, files, "its own")
    return document


def advance(current: TrustDocument, files: Mapping[str, bytes], distrust: Distrust | None = None) -> TrustDocument:
    """Return the document that follows ``current``; signatures of whom the site distrusts do not count.

    Raises:
        TrustRefused: It does not follow, or too few of the root signers of either signed it.
        FormatError: It is malformed.
    """
    # 2: by the rules of the one before, over bytes that nothing has parsed yet
    check_quorum(current, files, f"version {current.version}'s", distrust)
    document = read_document(files)
    if document.version != current.version + 1:
        raise TrustRefused(f"trust {document.version} does not follow {current.version}", hint=_HINT)
    check_quorum(document, files, "its own", distrust)
    # 5
    check_rising(current, document)
    return document


def check_rising(old: TrustDocument, new: TrustDocument) -> None:
    """Refuse a next document that goes back behind the one before.

    Raises:
        TrustRefused: Lists what falls, or is no longer revoked.
    """
    problems = _fallen(old, new)
    if problems:
        raise TrustRefused(f"trust {new.version} goes back: {problems[0]}", hint=_HINT, problems=problems)


def read_document(files: Mapping[str, bytes]) -> TrustDocument:
    """Return what a container says, signed or not, if its files belong together.

    Raises:
        TrustRefused: They do not.
        FormatError: It is malformed.
    """
    # 3
    sums = parse_sums(_file(files, SUMS))
    names = {name for name in files if name != SUMS and SIGNATURE.fullmatch(name) is None}
    if set(sums) != set(TRUST_FILES) or names != set(TRUST_FILES):
        odd = sorted(set(sums) ^ set(TRUST_FILES) | names ^ set(TRUST_FILES))
        raise TrustRefused(f"{odd[0]!r} is missing, or does not belong into a trust document", hint=_HINT)
    for name in TRUST_FILES:
        if hashlib.sha256(files[name]).hexdigest() != sums[name]:
            raise TrustRefused(f"{name} is not what was signed", hint=_HINT)
    # 4
    document = parse_trust(files[TRUST_JSON])
    _check_keys(document)
    for name, data in render(document).items():
        if files[name] != data:
            raise TrustRefused(f"{name} does not say what {TRUST_JSON} says", hint=_HINT)
    return document


def check_quorum(
    document: TrustDocument, files: Mapping[str, bytes], whose: str, distrust: Distrust | None = None
) -> Quorum:
    """Return who of the root signers of ``document`` signed the container ``files``.

    Raises:
        TrustRefused: Too few; names those still needed.
    """
    sums = _file(files, SUMS)
    signatures = {name: data for name, data in files.items() if SIGNATURE.fullmatch(name)}
    if len(sums) > MAX_SUMS or len(signatures) > MAX_SIGNATURES or any(map(_large, signatures.values())):
        raise FormatError("a trust document has too many or too large signatures")
    policy = _policy(document, "root", distrust or Distrust())
    judge = make_judge(policy)
    verdicts = [judge(sums, name, data) for name, data in sorted(signatures.items())]
    signed = {verdict.principal for verdict in verdicts if verdict.principal}
    try:
        return count(policy, verdicts)
    except BundlerError as error:
        open_ = sorted({signer.principal for signer in policy.signers} - signed)
        raise TrustRefused(
            f"{len(signed)} of {policy.threshold} root signers, by {whose} rules; still needed: "
            f"{policy.threshold - len(signed)} of {', '.join(open_)}",
            hint=_HINT,
            problems=error.problems,
        ) from error


def bundle_policy(document: TrustDocument, distrust: Distrust) -> Policy:
    """Return who may sign bundles. What the site distrusts is taken away; the threshold stays.

    Raises:
        TrustRefused: Too few signers are left.
    """
    return _policy(document, "bundle", distrust)


def _policy(document: TrustDocument, role: Role, distrust: Distrust) -> Policy:
    namespace, threshold = {
        "root": (TRUST_NAMESPACE, document.root_threshold),
        "bundle": (BUNDLE_NAMESPACE, document.bundle_threshold),
    }[role]
    signers = tuple(
        AllowedSigner(principal=signer.name, namespaces=(namespace,), key=key)
        for signer in document.signers
        if signer.role == role and signer.name not in distrust.signers
        for key in map(parse_public_key, signer.keys)
        if key.fingerprint not in distrust.keys
    )
    revoked = frozenset(parse_public_key(key).blob for key in document.revoked_keys)
    able = {signer.principal for signer in signers if signer.key.blob not in revoked}
    if len(able) < threshold:
        raise TrustRefused(
            f"{threshold} {role} signers must sign, still trusted here: {', '.join(sorted(able)) or 'nobody'}",
            hint="wait for the next trust document: nothing can be installed by this one"
            if role == "bundle"
            else "ask whoever holds the root keys; without them a new beginning is needed",
        )
    return Policy(signers=signers, namespace=namespace, threshold=threshold, revoked=revoked)


def _check_keys(document: TrustDocument) -> None:
    for key in (*document.revoked_keys, *(key for signer in document.signers for key in signer.keys)):
        # Base64 can say the same in several ways; one key must not pass for two.
        if str(parse_public_key(key)) != key:
            raise FormatError(f"{TRUST_JSON}: key …{key[-12:]} is not written in its one form")


def _fallen(old: TrustDocument, new: TrustDocument) -> list[Problem]:
    problems = [
        Problem(where=f"{word} of {name}", what=f"falls from {value} to {after.get(name, 0)}")
        for word, before, after in (("epoch", old.epochs, new.epochs), ("floor", old.floors, new.floors))
        for name, value in before.items()
        # A new epoch begins to count anew.
        if after.get(name, 0) < value and (word == "epoch" or new.epochs.get(name, 0) == old.epochs.get(name, 0))
    ]
    bundles = set(old.revoked_bundles) - set(new.revoked_bundles)
    keys = {f"…{key[-12:]}" for key in set(old.revoked_keys) - set(new.revoked_keys)}
    gone = [*(f"bundle {digest}" for digest in sorted(bundles)), *(f"key {key}" for key in sorted(keys))]
    return problems + [Problem(where=where, what="is no longer revoked") for where in gone]


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise TrustRefused(f"{name} is missing", hint=_HINT)
    return files[name]


def _large(data: bytes) -> bool:
    return len(data) > MAX_SIGNATURE

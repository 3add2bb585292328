"""The chain of trust documents: each one vouches for the next. Pure but for the judge of single signatures.

1   the first document is the one whose SHA256SUMS has the digest that people carried here, and enough of its own
    root signers have signed it
2   a later one is exactly one version on; enough root signers of the one before have signed it, by the rules of
    that one, and enough of its own, by its own rules
3   SHA256SUMS names exactly the files of a trust document, and each has its digest
4   trust.json parses; the plain text files are those that are made from it
5   floors and epochs never fall, and what was revoked stays revoked
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
from bundler.signing.keys import PublicKey, parse_public_key
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
    check_quorum(document, files, "its own")
    return document


def advance(current: TrustDocument, files: Mapping[str, bytes]) -> TrustDocument:
    """Return the document that follows ``current``.

    Raises:
        TrustRefused: It does not follow, or too few of the root signers of either signed it.
        FormatError: It is malformed.
    """
    # 2: by the rules of the one before, over bytes that nothing has parsed yet
    check_quorum(current, files, f"version {current.version}'s")
    document = read_document(files)
    if document.version != current.version + 1:
        raise TrustRefused(f"trust {document.version} does not follow {current.version}", hint=_HINT)
    check_quorum(document, files, "its own")
    # 5
    problems = list(_fallen(current, document))
    if problems:
        raise TrustRefused(f"trust {document.version} goes back: {problems[0]}", hint=_HINT, problems=problems)
    return document


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
    _keys_of(document)
    for name, data in render(document).items():
        if files[name] != data:
            raise TrustRefused(f"{name} does not say what {TRUST_JSON} says", hint=_HINT)
    return document


def check_quorum(document: TrustDocument, files: Mapping[str, bytes], whose: str) -> Quorum:
    """Return who of the root signers of ``document`` signed the container ``files``.

    Raises:
        TrustRefused: Too few; names those still needed.
    """
    sums = _file(files, SUMS)
    signatures = {name: data for name, data in files.items() if SIGNATURE.fullmatch(name)}
    if len(sums) > MAX_SUMS or len(signatures) > MAX_SIGNATURES or any(map(_large, signatures.values())):
        raise FormatError("a trust document has too many or too large signatures")
    policy = root_policy(document)
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


def root_policy(document: TrustDocument) -> Policy:
    """Return who may sign the next document."""
    return _policy(document, "root", TRUST_NAMESPACE, document.root_threshold, Distrust())


def bundle_policy(document: TrustDocument, distrust: Distrust) -> Policy:
    """Return who may sign bundles. What the site distrusts is taken away; the threshold stays.

    Raises:
        TrustRefused: Too few signers are left.
    """
    return _policy(document, "bundle", BUNDLE_NAMESPACE, document.bundle_threshold, distrust)


def _policy(document: TrustDocument, role: Role, namespace: str, threshold: int, distrust: Distrust) -> Policy:
    keys = _keys_of(document)
    signers = tuple(
        AllowedSigner(principal=signer.name, namespaces=(namespace,), key=keys[key])
        for signer in document.signers
        if signer.role == role and signer.name not in distrust.signers
        for key in signer.keys
        if not distrusted(keys[key], distrust)
    )
    able = {signer.principal for signer in signers}
    if len(able) < threshold:
        raise TrustRefused(
            f"{threshold} signers must sign, still trusted here: {', '.join(sorted(able)) or 'nobody'}",
            hint="wait for the next trust document: nothing can be installed by this one",
        )
    revoked = frozenset(parse_public_key(key).blob for key in document.revoked_keys)
    return Policy(signers=signers, namespace=namespace, threshold=threshold, revoked=revoked)


def distrusted(key: PublicKey, distrust: Distrust) -> bool:
    """Return whether the site no longer trusts a key: named by its fingerprint or whole."""
    return key.fingerprint in distrust.keys or str(key) in distrust.keys


def _keys_of(document: TrustDocument) -> dict[str, PublicKey]:
    return {key: parse_public_key(key) for signer in document.signers for key in signer.keys}


def _fallen(old: TrustDocument, new: TrustDocument) -> list[Problem]:
    problems = [
        Problem(where=f"{word} of {name}", what=f"falls from {value} to {after.get(name, 0)}")
        for word, before, after in (("epoch", old.epochs, new.epochs), ("floor", old.floors, new.floors))
        for name, value in before.items()
        # A new epoch begins to count anew.
        if after.get(name, 0) < value and (word == "epoch" or new.epochs.get(name, 0) == old.epochs.get(name, 0))
    ]
    gone = set(old.revoked_bundles) - set(new.revoked_bundles)
    problems += [Problem(where=f"bundle {digest}", what="is no longer revoked") for digest in sorted(gone)]
    trusted = {key for signer in new.signers for key in signer.keys}
    back = trusted & set(old.revoked_keys) - set(new.revoked_keys)
    return problems + [Problem(where=f"key …{key[-12:]}", what="was revoked, and is trusted") for key in sorted(back)]


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise TrustRefused(f"{name} is missing", hint=_HINT)
    return files[name]


def _large(data: bytes) -> bool:
    return len(data) > MAX_SIGNATURE

"""The connected side's look at a receipt: is it a site's own, and what does the site have?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundler.errors import FormatError, Problem, SignatureRefused, UsageError
from bundler.model.contents import MAX_SIGNATURE
from bundler.model.site_known_hosts import MAX_SIZE, parse_known_hosts
from bundler.model.site_receipt import MAX_RECEIPT, Receipt, parse_receipt
from bundler.model.trust import RECEIPT_NAMESPACE
from bundler.signing.allowed_signers import AllowedSigner, parse_allowed_signers
from bundler.signing.check import make_judge
from bundler.signing.keys import KINDS, parse_public_key
from bundler.signing.trust import Policy, count


@dataclass(frozen=True, kw_only=True)
class ReceiptCheck:
    """The receipt, and who is believed: hosts of a known_hosts file, or signers whose name is that of the site."""

    receipt: Path
    known_hosts: Path | None = None
    allowed_signers: Path | None = None


@dataclass(frozen=True, kw_only=True)
class CheckedReceipt:
    """A receipt that a believed key signed; ``signer`` is what the file calls the owner of the key.

    ``hosts``: name of a repo host → whose key signed what it says itself, empty where the file has no such key; then
    there is only the site's word that it has checked it.
    """

    receipt: Receipt
    signer: str
    hosts: Mapping[str, str] = field(default_factory=dict)


def check_receipt(request: ReceiptCheck) -> CheckedReceipt:
    """Return the receipt if its signature is right.

    Raises:
        UsageError: A file cannot be read, or not exactly one of the two files was given.
        SignatureRefused: None of the believed keys signed it, or one of another site.
        FormatError: A file is malformed.
    """
    signers, names = _believed(request)
    data = _bytes(request.receipt, MAX_RECEIPT)
    signature = request.receipt.with_name(request.receipt.name + ".sig")
    policy = Policy(signers=signers, namespace=RECEIPT_NAMESPACE)
    judge = make_judge(policy)
    verdict = judge(data, signature.name, _bytes(signature, MAX_SIGNATURE))
    principal = count(policy, [verdict]).signers[0]
    receipt = parse_receipt(data, request.receipt.name)
    if request.allowed_signers is not None and principal != receipt.site:
        raise SignatureRefused(
            f"{request.receipt.name} speaks for site {receipt.site}, but is signed by {principal}",
            hint="the name in allowed_signers is the name of the site",
        )
    hosts = {}
    for one in receipt.signed:
        whose = judge(one.text, one.name, one.armored).principal
        hosts[one.name] = names.get(whose, whose)
    return CheckedReceipt(receipt=receipt, signer=names.get(principal, principal), hosts=hosts)


def _believed(request: ReceiptCheck) -> tuple[tuple[AllowedSigner, ...], dict[str, str]]:
    """Return whose keys count, and what the names in the policy stand for."""
    hosts, path = request.known_hosts, request.allowed_signers
    if hosts is not None and path is None:
        return _hosts(hosts)
    if path is not None and hosts is None:
        return parse_allowed_signers(_bytes(path, MAX_SIZE), str(path)), {}
    raise UsageError("give either --known-hosts or --allowed-signers: a receipt cannot vouch for itself")


def _hosts(path: Path) -> tuple[tuple[AllowedSigner, ...], dict[str, str]]:
    entries, problems = parse_known_hosts(_bytes(path, MAX_SIZE), str(path))
    if problems:
        raise FormatError(f"{problems[0]}", problems=problems)
    revoked = {entry.key for entry in entries if entry.marker == "@revoked"}
    signers: dict[str, AllowedSigner] = {}
    names: dict[str, str] = {}
    for entry in entries:
        if entry.marker or entry.key in revoked or entry.key.split()[0] not in KINDS or entry.key in signers:
            continue
        principal = f"host-{entry.line}"
        key = parse_public_key(entry.key)
        signers[entry.key] = AllowedSigner(principal=principal, namespaces=(RECEIPT_NAMESPACE,), key=key)
        hashed = entry.names[0].startswith("|")
        names[principal] = f"the host in line {entry.line} of {path.name}" if hashed else ",".join(entry.names)
    if not signers:
        what = "pins no Ed25519 or ECDSA key of a host"
        raise FormatError(f"{path} {what}", problems=(Problem(where=str(path), what=what),))
    return tuple(signers.values()), names


def _bytes(path: Path, most: int) -> bytes:
    """Read a file of at most ``most`` bytes; the readers refuse one byte more."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no regular file")
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error

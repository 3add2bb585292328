"""Add one signature to a bundle, here or on another machine, after checking what is about to be signed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bundler.bundle.driver import feed_contents, feed_files, feed_names, feed_unsigned
from bundler.bundle.layout import NAMESPACE, SIGNER, signature_name
from bundler.bundle.medium import open_medium
from bundler.bundle.verification import Verification
from bundler.errors import SigningFailed, UsageError
from bundler.events import Emit, ItemFinished, ItemStarted, Noted, ignore
from bundler.files import sweep, write_if_changed
from bundler.model.contents import Contents
from bundler.signing import sshkeygen
from bundler.signing.allowed_signers import AllowedSigner
from bundler.signing.check import make_judge
from bundler.signing.keys import PublicKey
from bundler.signing.trust import Policy

_STAGE = "sign"


@dataclass(frozen=True, kw_only=True)
class SignRequest:
    """The bundle's directory, the key (private file, or public with an agent), and the signer's name."""

    bundle: Path
    key: Path
    signer: str


@dataclass(frozen=True, kw_only=True)
class Signed:
    """The signature file, what it covers, and the line for allowed_signers."""

    path: Path
    digest: str
    contents: Contents
    key: PublicKey
    signer: str

    @property
    def allowed_signers_line(self) -> str:
        """Return the line that makes a site trust this signer."""
        return str(AllowedSigner(principal=self.signer, namespaces=(NAMESPACE,), key=self.key))


def sign(request: SignRequest, emit: Emit = ignore) -> Signed:
    """Check the bundle, sign its list, check the signature with both verifiers and write it beside the list.

    Raises:
        BundleError: The bundle is not what its list says, or makes no sense.
        PolicyRefused: It was not proved and its manifest does not allow that.
        SigningFailed: ssh-keygen could not sign, or not well.
    """
    if SIGNER.fullmatch(request.signer) is None:
        raise UsageError(f"{request.signer!r} is no signer", hint="1 to 32 of a-z, 0-9 and -")
    if not request.bundle.is_dir():
        raise UsageError(
            f"{request.bundle} is no directory", hint="unpack the tar first: a signature is a file in it"
        )
    if not request.key.is_file():
        raise UsageError(f"there is no key {request.key}", hint="ssh-keygen -t ed25519 -f KEY makes one")
    key = sshkeygen.public_key(request.key)
    sweep(request.bundle)  # a signature that a killed run had half written
    sums, contents = _check(request.bundle, emit)
    name = signature_name(request.signer)
    emit(ItemStarted(stage=_STAGE, item=name))
    asks = sshkeygen.asks(request.key, key)
    if asks:
        emit(Noted(message=f"ssh-keygen asks for {request.key}: its passphrase, its PIN or a touch", prompt=True))
    elif sshkeygen.is_token(key):
        emit(Noted(message=f"touch the token of {request.key} when it blinks"))
    armored = sshkeygen.sign(sums, request.key, NAMESPACE, terminal=asks)
    _recheck(sums, armored, name, AllowedSigner(principal=request.signer, namespaces=(NAMESPACE,), key=key))
    write_if_changed(request.bundle / name, armored)
    emit(ItemFinished(stage=_STAGE, item=name))
    digest = hashlib.sha256(sums).hexdigest()
    return Signed(path=request.bundle / name, digest=digest, contents=contents, key=key, signer=request.signer)


def _check(bundle: Path, emit: Emit) -> tuple[bytes, Contents]:
    """Return the list's bytes, once every other byte is known to be what the list says."""
    verification = Verification()
    with open_medium(bundle) as medium:
        sums = feed_unsigned(verification, medium)
        feed_contents(verification, medium)
        feed_names(verification, medium)
        verification.expect_all()
        feed_files(verification, medium, emit, stage=_STAGE)
    return sums, verification.verified().contents


def _recheck(sums: bytes, armored: bytes, name: str, signer: AllowedSigner) -> None:
    policy = Policy(signers=(signer,), namespace=NAMESPACE)
    verdict = make_judge(policy)(sums, name, armored)
    if not verdict.principal:
        raise SigningFailed(
            f"the new signature does not verify: {verdict.reason}", hint="does KEY.pub belong to KEY?"
        )

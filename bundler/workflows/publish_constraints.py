"""Publish the tested versions of a bundle: a signed constraints file that other manifests can build upon."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import ConstraintError, PolicyRefused, SigningFailed, UsageError
from bundler.events import Emit, Noted, ignore
from bundler.files import write
from bundler.model.contents import Contents, VenvEntry
from bundler.model.published import Published, publish
from bundler.signing import sshkeygen
from bundler.signing.allowed_signers import PRINCIPAL, AllowedSigner
from bundler.signing.check import make_judge
from bundler.signing.documents import NAMESPACE, signature_of
from bundler.signing.trust import Policy
from bundler.workflows.verify import VerifyRequest, verify


@dataclass(frozen=True, kw_only=True)
class PublishRequest:
    """The bundle with who may have signed it, the key to sign the file with, and where the file goes.

    ``venvs`` and ``targets`` choose a part (empty: all). ``allow_unproved`` publishes what nobody tried.
    """

    verify: VerifyRequest
    key: Path
    signer: str
    output: Path
    venvs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    allow_unproved: bool = False
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class PublishReport:
    """The file, its signature, what it was made from, and the line that makes others trust its signer."""

    path: Path
    signature: Path
    bundle: str
    digest: str
    packages: int
    venvs: tuple[str, ...]
    allowed_signers_line: str


def publish_constraints(request: PublishRequest, emit: Emit = ignore) -> PublishReport:
    """Write the tested versions of a bundle, and their signature beside them.

    Raises:
        TrustError: The bundle is not signed as asked; a venv was not proved; the file cannot be signed.
        BundleError: The bundle is not what was signed.
        ConstraintError: Venvs hold versions that no marker tells apart; all are named.
        UsageError: There is nothing to publish, or a file is there already.
    """
    _check(request)
    # 1. The whole bundle, as a site would verify it.
    verified = verify(request.verify, emit)
    contents = verified.contents
    # 2. Only what was proved counts as tested.
    venvs = _chosen(contents, request)
    unproved = [
        f"{venv.name} on {venv.target}" for venv in venvs if venv.proof.level == "none" or not venv.proof.passed
    ]
    if unproved and not request.allow_unproved:
        raise PolicyRefused(
            f"{contents.id}: what was not proved is not published as tested: {', '.join(unproved)}",
            hint="build with proof.level host or target, or --allow-unproved says so in the file",
        )
    # 3. One file; what needs two is refused.
    found = publish(contents, verified.digest, venvs)
    _refuse(contents, found)
    # 4. Both verifiers accept the signature before anything is written; the file is last.
    data = found.text.encode()
    line, armored = _sign(data, request, emit)
    write(signature_of(request.output), armored)
    write(request.output, data)
    return PublishReport(
        path=request.output,
        signature=signature_of(request.output),
        bundle=contents.id,
        digest=verified.digest,
        packages=found.packages,
        venvs=tuple(dict.fromkeys(venv.name for venv in venvs)),
        allowed_signers_line=line,
    )


def _check(request: PublishRequest) -> None:
    if PRINCIPAL.fullmatch(request.signer) is None:
        raise UsageError(f"{request.signer!r} is no signer", hint="1 to 32 of a-z, 0-9 and -")
    if not request.key.is_file():
        raise UsageError(f"there is no key {request.key}", hint="ssh-keygen -t ed25519 -f KEY makes one")
    if request.output.exists() and not request.force:
        raise UsageError(f"{request.output} is there already", hint="--force replaces it and its signature")


def _chosen(contents: Contents, request: PublishRequest) -> tuple[VenvEntry, ...]:
    _known("venv", request.venvs, {venv.name for venv in contents.venvs})
    _known("target", request.targets, {venv.target for venv in contents.venvs})
    return tuple(
        venv
        for venv in contents.venvs
        if venv.name in (request.venvs or (venv.name,)) and venv.target in (request.targets or (venv.target,))
    )


def _known(what: str, names: Iterable[str], known: set[str]) -> None:
    unknown = sorted(set(names) - known)
    if unknown:
        raise UsageError(
            f"the bundle has no {what} {', '.join(unknown)}", hint=f"it has {', '.join(sorted(known)) or 'none'}"
        )


def _refuse(contents: Contents, found: Published) -> None:
    if not found.packages:
        raise UsageError(f"{contents.id} has no packages to publish", hint="choose other venvs or targets")
    if found.problems:
        raise ConstraintError(
            f"{contents.id}: one file cannot hold two versions for one system",
            hint="publish a file for each with --venv or --target",
            problems=found.problems,
        )


def _sign(data: bytes, request: PublishRequest, emit: Emit) -> tuple[str, bytes]:
    """Return the signer's line, and a signature that both verifiers accept."""
    key = sshkeygen.public_key(request.key)
    asks = sshkeygen.asks(request.key, key)
    if asks:
        emit(Noted(message=f"ssh-keygen asks for {request.key}: its passphrase, its PIN or a touch", prompt=True))
    elif sshkeygen.is_token(key):
        emit(Noted(message=f"touch the token of {request.key} when it blinks"))
    armored = sshkeygen.sign(data, request.key, NAMESPACE, terminal=asks)
    signer = AllowedSigner(principal=request.signer, namespaces=(NAMESPACE,), key=key)
    verdict = make_judge(Policy(signers=(signer,), namespace=NAMESPACE))(data, request.output.name, armored)
    if not verdict.principal:
        raise SigningFailed(
            f"the new signature does not verify: {verdict.reason}", hint="does KEY.pub belong to KEY?"
        )
    return str(signer), armored

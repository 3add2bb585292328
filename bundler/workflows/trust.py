"""Say who may sign: write trust documents, sign them, put them onto a medium."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bundler.bundle.layout import SIGNER, SUMS, signature_name
from bundler.deploy.trust_store import TrustStore, read_container
from bundler.errors import BundlerError, TrustRefused, UsageError
from bundler.events import Emit, Noted, ignore
from bundler.files import make_directory, replacing_directory, write
from bundler.model.sums import format_sums
from bundler.model.trust import TRUST_NAMESPACE, Role, TrustDocument, TrustedSigner, trust_directory
from bundler.model.trust_json import check_trust, render
from bundler.signing import sshkeygen
from bundler.signing.chain import advance, bootstrap, check_quorum, read_document
from bundler.signing.development import DevelopmentKey


@dataclass(frozen=True, kw_only=True)
class Named:
    """A signer's name and the file of a public key."""

    name: str
    key: Path


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is different in a new document. Thresholds of None stay, or are 1 in a first one."""

    roots: tuple[Named, ...] = ()
    signers: tuple[Named, ...] = ()
    removed: tuple[str, ...] = ()
    root_threshold: int | None = None
    bundle_threshold: int | None = None
    floors: Mapping[str, int] = field(default_factory=dict)
    epochs: Mapping[str, int] = field(default_factory=dict)
    revoked_keys: tuple[Path, ...] = ()
    revoked_bundles: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Written:
    """A document in its directory; ``digest`` is what goes onto the paper card of version 1.

    ``missing`` says what its quorums still lack; empty when it is complete.
    """

    path: Path
    document: TrustDocument
    digest: str
    missing: tuple[str, ...]


def new_trust(directory: Path, change: Change) -> Written:
    """Write the first document, unsigned, as ``trust-0001`` below ``directory``.

    Raises:
        UsageError: There is one already, or a key file cannot be read.
        FormatError: The document cannot be meant: lists every problem.
    """
    if TrustStore.available(directory):
        raise UsageError(f"{directory} has trust documents already", hint="bundle-build trust add makes the next one")
    return _write(directory, _changed(TrustDocument(version=1, signers=()), change))


def add_trust(directory: Path, change: Change) -> Written:
    """Write the document after the newest, unsigned; a newest one that is not yet complete is replaced.

    Raises:
        UsageError: There is none yet, or a name is unknown.
        FormatError: The document cannot be meant.
    """
    versions = TrustStore.available(directory)
    if not versions:
        raise UsageError(f"{directory} has no trust document", hint="bundle-build trust new makes the first one")
    newest = read_document(read_container(versions[max(versions)]))
    unknown = set(change.removed) - {signer.name for signer in newest.signers}
    if unknown:
        raise UsageError(f"no signer is called {min(unknown)}", hint="bundle-build trust show lists them")
    return _write(directory, _changed(replace(newest, version=newest.version + 1), change))


def sign_trust(directory: Path, key: Path, signer: str, *, terminal: bool = True) -> Written:
    """Add a root signer's signature to the newest document below ``directory``.

    Raises:
        UsageError: There is none, or that signer's key has no say in it or the one before.
        SigningFailed: ssh-keygen could not sign.
    """
    versions = TrustStore.available(directory)
    if not versions or SIGNER.fullmatch(signer) is None:
        raise UsageError(f"there is no trust document in {directory}, or {signer!r} is no signer")
    newest = max(versions)
    path = versions[newest]
    files = read_container(path)
    documents = [read_document(files)]
    if newest - 1 in versions:
        documents.append(read_document(read_container(versions[newest - 1])))
    public = sshkeygen.public_key(key)
    owners = {(one.name, one.role) for document in documents for one in document.signers if str(public) in one.keys}
    if (signer, "root") not in owners:
        raise UsageError(
            f"{key} is no root key of {signer} in version {newest} or the one before",
            hint="root signers are listed by bundle-build trust show",
        )
    asks = terminal and sshkeygen.asks(key, public)
    write(path / signature_name(signer), sshkeygen.sign(files[SUMS], key, TRUST_NAMESPACE, terminal=asks))
    return look(directory, newest)


def look(directory: Path, version: int = 0) -> Written:
    """Return a document below ``directory``, the newest without ``version``, and what its quorums lack.

    Raises:
        UsageError: There is none.
    """
    versions = TrustStore.available(directory)
    chosen = version or max(versions, default=0)
    if chosen not in versions:
        raise UsageError(f"there is no trust document {chosen or ''} in {directory}")
    files = read_container(versions[chosen])
    document = read_document(files)
    judges = {"its own": document}
    if chosen - 1 in versions:
        judges[f"version {chosen - 1}'s"] = read_document(read_container(versions[chosen - 1]))
    missing = tuple(text for whose, judge in judges.items() if (text := _missing(judge, files, whose)))
    digest = hashlib.sha256(files[SUMS]).hexdigest()
    return Written(path=versions[chosen], document=document, digest=digest, missing=missing)


def _missing(judge: TrustDocument, files: Mapping[str, bytes], whose: str) -> str:
    try:
        check_quorum(judge, files, whose)
    except TrustRefused as error:
        return error.message
    return ""


def export_trust(directory: Path, medium: Path, emit: Emit = ignore) -> Written:
    """Check the whole chain below ``directory`` as a site would and copy it onto a medium, beside the bundles.

    Raises:
        TrustRefused: A document does not follow the one before, or lacks signatures.
    """
    versions = TrustStore.available(directory)
    if 1 not in versions:
        raise UsageError(f"{directory} has no first trust document", hint="a site needs every version, from 1 on")
    document: TrustDocument | None = None
    make_directory(medium)
    for path in (versions[version] for version in sorted(versions)):
        files = read_container(path)
        digest = hashlib.sha256(files[SUMS]).hexdigest()
        try:
            document = bootstrap(files, digest) if document is None else advance(document, files)
        except BundlerError as error:
            hint = "sign it first: bundle-build trust sign"
            raise TrustRefused(f"{path}: {error.message}", hint=hint, problems=error.problems) from error
        _put(medium / path.name, files)
        emit(Noted(message=f"{path.name}: its quorum holds"))
    first = look(directory, 1)
    return replace(look(directory), digest=first.digest)


def export_development_trust(key: DevelopmentKey, out: Path) -> Written:
    """Put a first document that trusts the development key beside the bundles; it is made once."""
    place = key.key.parent
    root = place / "root"
    if not root.exists():
        sshkeygen.generate(root, f"{key.signer}-root")
    if not TrustStore.available(place):
        new_trust(
            place,
            Change(
                roots=(Named(name=f"{key.signer}-root", key=root.with_suffix(".pub")),),
                signers=(Named(name=key.signer, key=key.key.with_suffix(".pub")),),
            ),
        )
    if look(place).missing:
        sign_trust(place, root, f"{key.signer}-root", terminal=False)
    return export_trust(place, out)


def _changed(document: TrustDocument, change: Change) -> TrustDocument:
    revoked = tuple(_public(path) for path in change.revoked_keys)
    signers = {(one.role, one.name): one for one in _kept(document, change, revoked)}
    for named in change.roots:
        _add(signers, "root", named)
    for named in change.signers:
        _add(signers, "bundle", named)
    changed = replace(
        document,
        signers=tuple(one for _, one in sorted(signers.items())),
        root_threshold=change.root_threshold or document.root_threshold,
        bundle_threshold=change.bundle_threshold or document.bundle_threshold,
        floors={**document.floors, **change.floors},
        epochs={**document.epochs, **change.epochs},
        revoked_keys=tuple(sorted({*document.revoked_keys, *revoked})),
        revoked_bundles=tuple(sorted({*document.revoked_bundles, *change.revoked_bundles})),
    )
    check_trust(changed)
    return changed


def _kept(document: TrustDocument, change: Change, revoked: tuple[str, ...]) -> Iterator[TrustedSigner]:
    """Yield the old signers that stay, without revoked keys."""
    for signer in document.signers:
        keys = tuple(key for key in signer.keys if key not in revoked)
        if keys and signer.name not in change.removed:
            yield replace(signer, keys=keys)


def _add(signers: dict[tuple[Role, str], TrustedSigner], role: Role, named: Named) -> None:
    key = _public(named.key)
    old = signers.get((role, named.name))
    keys = tuple(sorted({*(old.keys if old else ()), key}))
    signers[role, named.name] = TrustedSigner(name=named.name, role=role, keys=keys)


def _public(path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"there is no key {path}", hint="give the .pub file; ssh-keygen -t ed25519 makes a pair")
    return str(sshkeygen.public_key(path))


def _write(directory: Path, document: TrustDocument) -> Written:
    files = render(document)
    files[SUMS] = format_sums({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    _put(directory / trust_directory(document.version), files)
    return look(directory, document.version)


def _put(path: Path, files: Mapping[str, bytes]) -> None:
    make_directory(path.parent)
    with replacing_directory(path) as fresh:
        fresh.chmod(0o755)
        for name, data in files.items():
            write(fresh / name, data)

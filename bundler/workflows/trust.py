"""Say who may sign: write trust documents, sign them, put them onto a medium."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bundler.bundle.layout import SIGNER, SUMS, signature_name
from bundler.deploy.trust_store import read_container, versions_in
from bundler.errors import BundlerError, FormatError, TrustRefused, UsageError
from bundler.events import Emit, Noted, ignore
from bundler.files import make_directory, replacing_directory, write
from bundler.model.contents import MAX_SIGNATURES
from bundler.model.sums import format_sums
from bundler.model.trust import TRUST_NAMESPACE, Role, TrustDocument, TrustedSigner, trust_directory
from bundler.model.trust_json import check_trust, render
from bundler.signing import sshkeygen
from bundler.signing.chain import advance, bootstrap, check_quorum, check_rising, read_document
from bundler.signing.development import DevelopmentKey
from bundler.signing.keys import PublicKey
from bundler.signing.sshsig import parse_signature


@dataclass(frozen=True, kw_only=True)
class Named:
    """A signer's name and the file of a public key."""

    name: str
    key: Path


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is different in a new document. Thresholds of None stay.

    In a first one they fit a small team: 2 where there are three root signers, or two who sign bundles; else 1.
    """

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
    if versions_in(directory):
        raise UsageError(f"{directory} has trust documents already", hint="bundle-build trust add makes the next one")
    empty = TrustDocument(
        version=1,
        signers=(),
        # One lost root key and one stolen root key are both to be borne: two of three is the least that does.
        root_threshold=2 if len({named.name for named in change.roots}) > 2 else 1,  # noqa: PLR2004
        bundle_threshold=2 if len({named.name for named in change.signers}) > 1 else 1,
    )
    return _write(directory, _changed(empty, change))


def add_trust(directory: Path, change: Change) -> Written:
    """Write the document after the newest, unsigned; one that is not complete yet is changed and to be signed anew.

    Raises:
        UsageError: There is none yet, or a name is unknown.
        FormatError: The document cannot be meant.
        TrustRefused: It would go back behind the one before it.
    """
    newest = look(directory)
    document = newest.document
    unknown = set(change.removed) - {signer.name for signer in document.signers}
    if unknown:
        raise UsageError(f"no signer is called {min(unknown)}", hint="bundle-build trust show lists them")
    version = document.version if newest.missing else document.version + 1
    changed = _changed(replace(document, version=version), change)
    before = versions_in(directory).get(version - 1)
    if before is not None:
        check_rising(read_document(read_container(before)), changed)
    return _write(directory, changed)


def sign_trust(directory: Path, key: Path, signer: str, *, terminal: bool = True) -> Written:
    """Add a root signer's signature to the newest document below ``directory``.

    Raises:
        UsageError: There is none, or that signer's key has no say in it or the one before.
        SigningFailed: ssh-keygen could not sign.
    """
    versions = versions_in(directory)
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
    name = _signature_place(files, signer, public)
    write(path / name, sshkeygen.sign(files[SUMS], key, TRUST_NAMESPACE, terminal=asks))
    return look(directory, newest)


def _signature_place(files: Mapping[str, bytes], signer: str, key: PublicKey) -> str:
    """Return the name for a signature. Who changes keys signs with both: the second gets a name of its own."""
    numbered = (f"{signer[:29]}-{number}" for number in range(2, MAX_SIGNATURES + 1))
    names = [signature_name(one) for one in (signer, *numbered)]
    return next((name for name in names if name not in files or _is_by(files[name], key)), names[0])


def _is_by(armored: bytes, key: PublicKey) -> bool:
    """Return whether a signature is by a key, or by none at all and may be replaced."""
    try:
        return parse_signature(armored).key.blob == key.blob
    except FormatError:
        return True


def look(directory: Path, version: int = 0) -> Written:
    """Return a document below ``directory``, the newest without ``version``, and what its quorums lack.

    Raises:
        UsageError: There is none.
    """
    versions = versions_in(directory)
    chosen = version or max(versions, default=0)
    if chosen not in versions:
        what = f"trust document {chosen}" if chosen else "trust document"
        raise UsageError(f"{directory} has no {what}", hint="bundle-build trust new makes the first one")
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
        UsageError: There is no first document, or the medium has other ones, or is the directory of a bundle.
        TrustRefused: A document does not follow the one before, or lacks signatures; nothing is copied.
    """
    versions = versions_in(directory)
    if 1 not in versions:
        raise UsageError(f"{directory} has no first trust document", hint="a site needs every version, from 1 on")
    if (medium / SUMS).exists():
        raise UsageError(f"{medium} is a bundle", hint="name the directory that it lies in")
    containers = {versions[version]: read_container(versions[version]) for version in sorted(versions)}
    _check_medium(medium, containers)
    _check_chain(containers)
    make_directory(medium)
    for path, files in containers.items():
        _put(medium / path.name, files)
        emit(Noted(message=f"{path.name}: its quorum holds"))
    return replace(look(directory), digest=look(directory, 1).digest)


def _check_medium(medium: Path, containers: Mapping[Path, Mapping[str, bytes]]) -> None:
    ours = {path.name: files[SUMS] for path, files in containers.items()}
    for version, path in sorted(versions_in(medium).items()):
        if read_container(path).get(SUMS) != ours.get(path.name):
            raise UsageError(
                f"{medium} has another trust document of version {version}",
                hint="sites trust one chain or the other: take another medium, or remove what is there",
            )


def _check_chain(containers: Mapping[Path, Mapping[str, bytes]]) -> None:
    document: TrustDocument | None = None
    for path, files in containers.items():
        digest = hashlib.sha256(files[SUMS]).hexdigest()
        try:
            document = bootstrap(files, digest) if document is None else advance(document, files)
        except BundlerError as error:
            hint = "sign it first: bundle-build trust sign"
            raise TrustRefused(f"{path}: {error.message}", hint=hint, problems=error.problems) from error


def _digest_on(medium: Path) -> str:
    """Return the root digest of the trust documents that a medium has, empty without any."""
    first = versions_in(medium).get(1)
    return hashlib.sha256(read_container(first).get(SUMS, b"")).hexdigest() if first else ""


def export_development_trust(key: DevelopmentKey, out: Path, emit: Emit = ignore) -> str:
    """Put a first document that trusts the development key beside the bundles, unless others are there.

    Return the root digest that lets a site check bundles of the development key; empty where others are there.
    """
    place = key.key.parent
    root = place / "root"
    if not root.exists():
        sshkeygen.generate(root, f"{key.signer}-root")
    if not versions_in(place):
        new_trust(
            place,
            Change(
                roots=(Named(name=f"{key.signer}-root", key=root.with_suffix(".pub")),),
                signers=(Named(name=key.signer, key=key.key.with_suffix(".pub")),),
            ),
        )
    if look(place).missing:
        sign_trust(place, root, f"{key.signer}-root", terminal=False)
    digest = look(place, 1).digest
    if _digest_on(out) not in ("", digest):
        emit(Noted(message=f"{out}: has trust documents of others; those of the development key stay out"))
        return ""
    export_trust(place, out)
    return digest


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
    if path.is_dir() and read_container(path) == files:
        return
    with replacing_directory(path) as fresh:
        fresh.chmod(0o755)
        for name, data in files.items():
            write(fresh / name, data)

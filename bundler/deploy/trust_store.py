"""The trust of a site: every trust document it ever accepted, in order, and what it distrusts by itself."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bundler.bundle.layout import SIGNATURE, SUMS
from bundler.bundle.medium import open_medium, read_bounded, reading
from bundler.deploy.audit import AuditLog
from bundler.deploy.places import Places
from bundler.errors import BundlerError, TrustMissing, TrustRefused, UsageError
from bundler.events import Emit, Noted, Warned, ignore
from bundler.files import make_directory, replacing_directory, write
from bundler.model.contents import MAX_SIGNATURE, MAX_SUMS
from bundler.model.trust import TRUST_FILES, Distrust, TrustDocument, trust_directory
from bundler.model.trust_json import MAX_TRUST_JSON, format_distrust, parse_distrust
from bundler.signing.chain import advance, bootstrap, bundle_policy, check_quorum, read_document
from bundler.signing.keys import parse_public_key
from bundler.signing.trust import Policy

_DIRECTORY = re.compile(r"trust-(?!0000)([0-9]{4})")
#: A trust document has its files and at most 32 signatures.
_MAX_FILES = 64


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What counts now. ``digest`` is the SHA-256 of the document's SHA256SUMS."""

    document: TrustDocument
    digest: str
    distrust: Distrust


class TrustStore:
    """Reads and writes the trust of a site."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def current(self) -> Trust:
        """Return the newest accepted document and the local distrust.

        Raises:
            TrustMissing: There is none yet.
            TrustRefused, FormatError: What lies there is not what was accepted.
        """
        versions = versions_in(self._places.trust)
        if not versions:
            raise TrustMissing(
                f"this site has no trust yet: {self._places.trust} is empty",
                hint="bundle-install trust init --root-digest DIGEST MEDIUM, with the digest of your paper card",
            )
        newest = max(versions)
        files = read_container(versions[newest])
        document = read_document(files)
        if document.version != newest:
            raise TrustRefused(
                f"{versions[newest]} holds version {document.version}", hint="put back what this site accepted"
            )
        return Trust(document=document, digest=_digest(files), distrust=self._distrust())

    def policy(self) -> Policy:
        """Return who may sign bundles here.

        Raises:
            TrustMissing: There is no trust yet.
            TrustRefused: Distrust has left too few.
        """
        trust = self.current()
        return bundle_policy(trust.document, trust.distrust)

    def init(self, files: Mapping[str, bytes], root_digest: str) -> Trust:
        """Accept the first document, by the digest that people carried here; the same one again changes nothing.

        Raises:
            TrustRefused: It is another one, or the site trusts another one already.
        """
        versions = versions_in(self._places.trust)
        first = _listed(versions[1]) if 1 in versions else "which is gone"
        if versions and first != root_digest:
            raise TrustRefused(
                f"this site trusts another first document, {first}",
                hint=f"a new beginning is a ceremony: move {self._places.trust} away first",
            )
        document = bootstrap(files, root_digest)
        if not versions:
            roots = sorted(signer.name for signer in document.signers if signer.role == "root")
            # Said before it is so: a kill in between leaves a line too many, never one too few.
            self._log("trust initialised", version=1, digest=root_digest, root_signers=roots)
            self._keep(document, files)
        return self.current()

    def update(self, medium: Path, emit: Emit = ignore) -> tuple[int, ...]:
        """Walk along the documents on the medium, each kept before the next is looked at; return the new versions.

        ``medium`` is what holds ``trust-NNNN``, or a bundle beside them.

        Raises:
            TrustRefused, FormatError: A document does not follow, or a quorum signed two of one version; what was
                accepted is kept.
        """
        available = self.available(medium)
        trust = self.current()
        try:
            self._check_repeated(available, emit)
            new = tuple(self._walk(trust, available, str(medium), emit))
        except BundlerError as error:
            self._log("trust refused", medium=str(medium), rule=error.rule, message=error.message)
            raise
        reached = new[-1] if new else trust.document.version
        beyond = [version for version in available if version > reached]
        if beyond:
            emit(
                Warned(
                    message=f"trust {min(beyond)} on the medium cannot be reached: {reached + 1} is missing",
                    hint="every version travels on every medium: bundle-build trust export",
                )
            )
        return new

    def _check_repeated(self, available: Mapping[int, Path], emit: Emit) -> None:
        """Compare accepted versions with the medium's: a stranger's is passed over, a quorum's second one is not."""
        own = versions_in(self._places.trust)
        for version in sorted(own.keys() & available.keys()):
            try:
                files = read_container(available[version])
                if _digest(files) == _listed(own[version]):
                    continue
                signed = version - 1 in own and _is_signed_by(own[version - 1], files)
            except BundlerError:
                signed = False
            what = f"trust {version} on the medium is not the one that this site accepted"
            if signed:
                raise TrustRefused(
                    f"{what}, and a quorum signed both",
                    hint="install nothing from it and report it: somebody has the root keys, or made a grave mistake",
                )
            emit(Warned(message=what, hint="it is not used; is the medium meant for another site?"))

    def _walk(self, trust: Trust, available: Mapping[int, Path], medium: str, emit: Emit) -> Iterator[int]:
        document = trust.document
        while (following := document.version + 1) in available:
            files = read_container(available[following])
            document = advance(document, files, trust.distrust)
            self._log("trust updated", version=following, digest=_digest(files), medium=medium)
            self._keep(document, files)
            emit(Noted(message=f"trust {following} accepted: its quorum and that of {following - 1} signed it"))
            yield following

    @staticmethod
    def available(medium: Path) -> dict[int, Path]:
        """Return version → directory of the trust documents on a medium: in it, or beside the bundle that it is."""
        beside = not medium.is_dir() or (medium / SUMS).exists()
        return versions_in(medium.resolve().parent if beside else medium)

    def add_distrust(self, distrust: Distrust, reason: str = "") -> Trust:
        """Trust even less. Nothing takes it back but a person who edits the file.

        Raises:
            UsageError: The site does not know such a signer.
        """
        trust = self.current()
        unknown = set(distrust.signers) - {signer.name for signer in trust.document.signers}
        if unknown:
            raise UsageError(f"no signer is called {min(unknown)}", hint="bundle-install trust show lists them")
        old = trust.distrust
        more = Distrust(
            signers=tuple(sorted({*old.signers, *distrust.signers})),
            keys=tuple(sorted({*old.keys, *distrust.keys})),
            bundles=tuple(sorted({*old.bundles, *distrust.bundles})),
        )
        self._log(
            "distrust",
            signers=list(distrust.signers),
            keys=list(distrust.keys),
            bundles=list(distrust.bundles),
            reason=reason,
        )
        write(self._places.distrust, format_distrust(more))
        return self.current()

    def containers(self) -> tuple[tuple[int, dict[str, bytes]], ...]:
        """Return every accepted version and its files, oldest first: what a repo host is handed."""
        return tuple(
            (version, read_container(path)) for version, path in sorted(versions_in(self._places.trust).items())
        )

    def distrusted(self) -> tuple[str, ...]:
        """Return what the site distrusts by itself, as a repo host is told it: keys as their base64.

        Keys that no accepted document knows are left out: nobody trusts them.
        """
        distrust = self._distrust()
        keys: set[str] = set()
        if distrust.keys:
            documents = (read_document(files) for _, files in self.containers())
            known = {key for one in documents for signer in one.signers for key in signer.keys}
            keys = {key.split()[1] for key in known if parse_public_key(key).fingerprint in distrust.keys}
        return (
            *(f"signer:{name}" for name in distrust.signers),
            *(f"key:{key}" for key in sorted(keys)),
            *(f"bundle:{digest}" for digest in distrust.bundles),
        )

    def _keep(self, document: TrustDocument, files: Mapping[str, bytes]) -> None:
        make_directory(self._places.trust)
        with replacing_directory(self._places.trust / trust_directory(document.version)) as directory:
            for name, data in files.items():
                write(directory / name, data)
            directory.chmod(0o755)

    def _distrust(self) -> Distrust:
        path = self._places.distrust
        return parse_distrust(path.read_bytes()) if path.exists() else Distrust()

    def _log(self, event: str, **facts: object) -> None:
        AuditLog(self._places.log).append(event, facts)


def read_container(directory: Path) -> dict[str, bytes]:
    """Return the files of a trust document by name: regular files of bounded size, each read once.

    Raises:
        TrustRefused: It holds what does not belong there.
        BundleError: Something in it is no regular file, or too large.
    """
    with open_medium(directory) as medium:
        names = medium.names()
        if len(names) > _MAX_FILES:
            raise TrustRefused(f"{directory} holds {len(names)} files: it is no trust document")
        limits = {name: _limit(directory, name) for name in names}
        return {name: read_bounded(medium, name, limit) for name, limit in limits.items()}


def _limit(directory: Path, name: str) -> int:
    """Return how large a file of a trust document may be."""
    if SIGNATURE.fullmatch(name):
        return MAX_SIGNATURE
    if name in (SUMS, *TRUST_FILES):
        return MAX_TRUST_JSON
    raise TrustRefused(
        f"{directory}: {name!r} does not belong into a trust document",
        hint="copy the directory anew; desktops leave files of their own behind",
    )


def _is_signed_by(before: Path, files: Mapping[str, bytes]) -> bool:
    """Return whether enough root signers of an accepted document signed a container."""
    try:
        check_quorum(read_document(read_container(before)), files, "its")
    except TrustRefused:
        return False
    return True


def _listed(directory: Path) -> str:
    """Return the digest of a trust document's list; nothing else of it is read."""
    with open_medium(directory) as medium:
        return hashlib.sha256(read_bounded(medium, SUMS, MAX_SUMS)).hexdigest()


def versions_in(parent: Path) -> dict[int, Path]:
    """Return version → directory of the trust documents directly in a directory, which need not be there.

    Raises:
        IntegrityError: It cannot be read.
    """
    with reading(str(parent)):
        return dict(_directories(parent)) if parent.is_dir() else {}


def _directories(parent: Path) -> Iterator[tuple[int, Path]]:
    with os.scandir(parent) as entries:
        for entry in entries:
            match = _DIRECTORY.fullmatch(entry.name)
            if match is not None and entry.is_dir(follow_symlinks=False):
                yield int(match[1]), parent / entry.name


def _digest(files: Mapping[str, bytes]) -> str:
    return hashlib.sha256(files.get(SUMS, b"")).hexdigest()

"""The trust of a site: every trust document it ever accepted, in order, and what it distrusts by itself."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bundler.bundle.layout import BUNDLE_JSON, SUMS
from bundler.bundle.medium import open_medium, read_bounded
from bundler.deploy.audit import AuditLog
from bundler.deploy.places import Places
from bundler.errors import TrustMissing, TrustRefused, UsageError
from bundler.events import Emit, Noted, Warned, ignore
from bundler.files import make_directory, replacing_directory, write
from bundler.model.trust import Distrust, TrustDocument, trust_directory
from bundler.model.trust_json import MAX_TRUST_JSON, format_distrust, parse_distrust
from bundler.signing.chain import advance, bootstrap, bundle_policy, read_document
from bundler.signing.trust import Policy

_DIRECTORY = re.compile(r"trust-([0-9]{4})")
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
        versions = _versions(self._places.trust)
        if not versions:
            raise TrustMissing(
                f"this site has no trust yet: {self._places.trust} is empty",
                hint="bundle-install trust init --root-digest DIGEST MEDIUM, with the digest of your paper card",
            )
        files = read_container(versions[max(versions)])
        return Trust(document=read_document(files), digest=_digest(files), distrust=self._distrust())

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
        first = _versions(self._places.trust).get(1)
        if first is not None and _digest(read_container(first)) != root_digest:
            raise TrustRefused(
                f"this site trusts another first document, {_digest(read_container(first))}",
                hint=f"a new beginning is a ceremony: move {self._places.trust} away first",
            )
        document = bootstrap(files, root_digest)
        if document.version != 1:
            raise TrustRefused(f"the first document has version {document.version}", hint="it must be 1")
        if first is None:
            self._keep(document, files)
            roots = sorted(signer.name for signer in document.signers if signer.role == "root")
            self._log("trust initialised", version=1, digest=root_digest, root_signers=roots)
        return self.current()

    def update(self, medium: Path, emit: Emit = ignore) -> tuple[int, ...]:
        """Walk along the documents on the medium, each kept before the next is looked at; return the new versions.

        ``medium`` is what holds ``trust-NNNN``, or a bundle beside them.

        Raises:
            TrustRefused, FormatError: A document does not follow; those before it are kept.
        """
        available = self.available(medium)
        trust = self.current()
        document, new = trust.document, []
        while (following := document.version + 1) in available:
            files = read_container(available[following])
            document = advance(document, files)
            self._keep(document, files)
            new.append(following)
            emit(Noted(message=f"trust {following} accepted: its quorum and that of {following - 1} signed it"))
            self._log("trust updated", version=following, digest=_digest(files), medium=str(medium))
        beyond = [version for version in available if version > following]
        if beyond:
            emit(
                Warned(
                    message=f"trust {min(beyond)} on the medium cannot be reached: {following} is missing",
                    hint="every version travels on every medium: bundle-build trust export",
                )
            )
        return tuple(new)

    @staticmethod
    def available(medium: Path) -> dict[int, Path]:
        """Return version → directory of the trust documents on a medium: in it, or beside the bundle that it is."""
        bundle = not medium.is_dir() or (medium / BUNDLE_JSON).exists()
        return _versions(medium.parent if bundle else medium)

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
        write(self._places.distrust, format_distrust(more))
        self._log(
            "distrust",
            signers=list(distrust.signers),
            keys=list(distrust.keys),
            bundles=list(distrust.bundles),
            reason=reason,
        )
        return self.current()

    def containers(self) -> tuple[tuple[int, dict[str, bytes]], ...]:
        """Return every accepted version and its files, oldest first: what a repo host is handed."""
        return tuple(
            (version, read_container(path)) for version, path in sorted(_versions(self._places.trust).items())
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
        BundleError: Something in it is no regular file, or too large.
    """
    with open_medium(directory) as medium:
        names = medium.names()
        if len(names) > _MAX_FILES:
            raise TrustRefused(f"{directory} holds {len(names)} files: it is no trust document")
        return {name: read_bounded(medium, name, MAX_TRUST_JSON) for name in names}


def _versions(parent: Path) -> dict[int, Path]:
    return dict(_directories(parent)) if parent.is_dir() else {}


def _directories(parent: Path) -> Iterator[tuple[int, Path]]:
    for path in sorted(parent.iterdir()):
        match = _DIRECTORY.fullmatch(path.name)
        if match is not None and path.is_dir() and not path.is_symlink():
            yield int(match[1]), path


def _digest(files: Mapping[str, bytes]) -> str:
    return hashlib.sha256(files.get(SUMS, b"")).hexdigest()

"""Put back what was signed on a repo host: signed tables, and only blobs that differ; from here or another host."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping

from bundler.bundle.layout import SUMS
from bundler.bundle.reader import IN_MEMORY, Bundle, open_bundle
from bundler.deploy.fleet import Fleet
from bundler.deploy.kept import known_digests
from bundler.deploy.places import Places
from bundler.deploy.plan import blob_sizes, is_away
from bundler.deploy.push import outgoing, signed_files
from bundler.deploy.session import Session
from bundler.deploy.signed_part import signed_differences
from bundler.deploy.state import read_state
from bundler.errors import (
    BundlerError,
    HostRefused,
    HostUnreachable,
    SignatureRefused,
    TransferFailed,
    TrustError,
    UsageError,
)
from bundler.files import chunks
from bundler.repohost import intake, releases
from bundler.repohost.intake import OutgoingBlob
from bundler.repohost.port import Difference, HostFacts, HostRelease
from bundler.repohost.releases import SignedPart

#: After so many rounds of sending what is missing, a host's disk does not keep what it gets.
_ROUNDS = 3


class Mender:
    """Mends hosts of a fleet. ``facts`` say which of them have which releases."""

    def __init__(self, places: Places, fleet: Fleet, facts: dict[str, HostFacts]) -> None:
        self._places = places
        self._fleet = fleet
        self._facts = facts

    def is_sound(self, session: Session) -> bool:
        """Return whether all blobs of what a host serves or could go back to are there and right."""
        return not releases.damaged_blobs(session.admit, [one.id for one in self._served(session)])

    def mend_signed(self, session: Session, damaged: Iterable[str]) -> None:
        """Send the signed part of these releases again; the host takes it by its own trust, and only the right one.

        Raises:
            HostRefused: Nobody has it.
            BundlerError: The host refused what there is; with the last rule by which it did.
        """
        wanted = set(damaged)
        for release in self._served(session):
            if release.id in wanted:
                self._mend_signed(session, release)

    def try_signed(self, session: Session, doubtful: Iterable[str]) -> tuple[str, ...]:
        """Do the same where the part may be as it was, and trust has moved on; return what was mended."""
        mended = []
        for release in doubtful:
            with contextlib.suppress(TrustError, HostRefused):
                self.mend_signed(session, [release])
                mended.append(release)
        return tuple(mended)

    def _mend_signed(self, session: Session, release: HostRelease) -> None:
        refusal: BundlerError | None = None
        for copy in self._signed_copies(session, release):
            refusal = _offer(session, release, copy)
            if refusal is None:
                return
        raise refusal or HostRefused(
            f"{session.host.name}: nobody has the signed part of {release.id}",
            hint="name the medium: bundle-install repair /media/stick",
        )

    def _signed_copies(self, session: Session, release: HostRelease) -> Iterator[Mapping[str, Iterable[bytes]]]:
        """Yield what there is of a signed part: copied from a medium, kept here, on other hosts."""
        for directory in (self._places.staging / release.digest, self._places.releases / release.id):
            if (directory / SUMS).is_file():
                # What cannot be read is no copy.
                with contextlib.suppress(BundlerError), open_bundle(directory) as bundle:
                    yield {name: list(pieces) for name, pieces in signed_files(bundle, release.targets).items()}
        for name in self._donors(session, release):
            donor = self._fleet.spare(name)
            try:
                found = releases.fetch_signed(donor.admit, release.id)
            except BundlerError:
                # Another one may be well.
                continue
            finally:
                donor.close()
            yield {file: [data] for file, data in found.items()}

    def _donors(self, session: Session, release: HostRelease) -> list[str]:
        """Return the other hosts that have the release."""
        return [
            name
            for name, facts in self._facts.items()
            if name != session.host.name and any(one.digest == release.digest for one in facts.releases)
        ]

    def mend(self, session: Session) -> int:
        """Mend every release that a host serves or could go back to; return how many bytes of blobs were sent."""
        return sum(self._mend(session, one) for one in self._served(session))

    def _served(self, session: Session) -> list[HostRelease]:
        return [one for one in self._facts[session.host.name].releases if one.state != "staged"]

    def _mend(self, session: Session, release: HostRelease) -> int:
        sent = 0
        for _ in range(_ROUNDS):
            missing = releases.restore(session.admit, release.id)
            if not missing:
                return sent
            sent += self._supply(session, release, missing)
        raise HostRefused(f"{session.host.name} loses blobs of {release.id} as they come: is its disk failing?")

    def _supply(self, session: Session, release: HostRelease, missing: tuple[str, ...]) -> int:
        """Send blobs from here where a copy was staged, else from other hosts; return their bytes.

        Raises:
            HostRefused: Nobody has all of them.
        """
        sent = 0

        def progress(size: int) -> None:
            nonlocal sent
            sent += size
            session.progressed = True

        left, sizes = set(missing), self._sizes(release)
        staged = self._places.staging / release.digest
        if (staged / SUMS).is_file():
            with open_bundle(staged) as bundle:
                here = [digest for digest in missing if _carries(bundle, digest)]
                intake.send_blobs(session.push, release.id, outgoing(bundle, here, {}), progress)
                left -= set(here)
        for name in self._donors(session, release):
            if left:
                for blob in self._fetched(name, {digest: sizes.get(digest) for digest in sorted(left)}):
                    intake.send_blobs(session.push, release.id, [blob], progress)
                    left.discard(blob.digest)
        if left:
            raise HostRefused(
                f"{session.host.name}: nobody has {len(left)} blobs of {release.id}",
                hint="name the medium: bundle-install repair /media/stick",
            )
        return sent

    def _sizes(self, release: HostRelease) -> dict[str, int]:
        """Return the signed size of every blob of a release, as far as anything of it is left here."""
        for directory in (self._places.staging / release.digest, self._places.releases / release.id):
            if (directory / SUMS).is_file():
                with contextlib.suppress(BundlerError), open_bundle(directory) as bundle:
                    return blob_sizes(bundle.contents)
        return {}

    def _fetched(self, name: str, sizes: Mapping[str, int | None]) -> Iterator[OutgoingBlob]:
        """Yield the blobs that another host has, each after its bytes were found right; take one before the next."""
        donor = self._fleet.spare(name)
        try:
            for digest, size, pieces in releases.fetch_blobs(donor.admit, sizes):
                with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as file:
                    found = hashlib.sha256()
                    for piece in pieces:
                        found.update(piece)
                        file.write(piece)
                    file.seek(0)
                    if found.hexdigest() == digest:
                        yield OutgoingBlob(digest=digest, size=size, offset=0, pieces=chunks(file))
        except (HostRefused, HostUnreachable, TransferFailed):
            # It lacks the next one too, or is gone: another host may have it.
            return
        finally:
            donor.close()


def _offer(session: Session, release: HostRelease, copy: Mapping[str, Iterable[bytes]]) -> BundlerError | None:
    """Offer a host a signed part; return why it refused, nothing if it took it."""
    try:
        intake.send_signed(session.push, release.id, copy)
        releases.restore_signed(session.admit, release.id)
    except BundlerError as error:
        if is_away(error):
            raise
        return error
    return None


def damaged_parts(places: Places, signed: Mapping[str, SignedPart]) -> dict[str, tuple[Difference, ...]]:
    """Return release → how its signed part on a host differs, by what this site keeps; sound ones are left out."""
    found = {release: signed_differences(release, part, _known(places, release)) for release, part in signed.items()}
    return {release: differences for release, differences in found.items() if differences}


def doubtful_parts(places: Places, signed: Mapping[str, SignedPart]) -> tuple[str, ...]:
    """Return releases whose signatures a host refuses and nothing here tells whether they are as they were."""
    code = SignatureRefused.exit_code
    refused = [release for release, part in signed.items() if part.status == code and not part.faults]
    return tuple(release for release in refused if _known(places, release) is None)


def _known(places: Places, release: str) -> dict[str, str] | None:
    """Return the digests of list and signatures of a release that was applied here, by what is left of it."""
    line, _, sequence = release.rpartition("-")
    recorded = {
        digest
        for key, digest in read_state(places).digests.items()
        if (key.split("/")[0], key.split("/")[-1]) == (line, sequence)
    }
    for directory in (places.releases / release, *(places.staging / digest for digest in sorted(recorded))):
        with contextlib.suppress(BundlerError):
            found = known_digests(directory) if (directory / SUMS).is_file() else {}
            # What rotted here is no measure.
            if found.get(SUMS) in recorded:
                return found
    return None


def _carries(bundle: Bundle, digest: str) -> bool:
    """Return whether the volume with the blob was staged: those of other targets were not."""
    try:
        volume, _ = bundle.place(digest)
    except UsageError:
        return False
    return volume.name in bundle.medium.names()

"""Put back what was signed on a repo host: only blobs that differ are sent, from a staged copy or another host."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator

from bundler.bundle.layout import SUMS
from bundler.bundle.reader import IN_MEMORY, Bundle, open_bundle
from bundler.deploy.fleet import Fleet
from bundler.deploy.places import Places
from bundler.deploy.push import outgoing
from bundler.deploy.session import Session
from bundler.errors import HostRefused, HostUnreachable, TransferFailed, UsageError
from bundler.files import chunks
from bundler.repohost import intake, releases
from bundler.repohost.intake import OutgoingBlob
from bundler.repohost.port import HostFacts, HostRelease

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

        left = set(missing)
        staged = self._places.staging / release.digest
        if (staged / SUMS).is_file():
            with open_bundle(staged) as bundle:
                here = [digest for digest in missing if _carries(bundle, digest)]
                intake.send_blobs(session.push, release.id, outgoing(bundle, here, {}), progress)
                left -= set(here)
        for name, facts in self._facts.items():
            if left and name != session.host.name and any(one.digest == release.digest for one in facts.releases):
                for blob in self._fetched(name, sorted(left)):
                    intake.send_blobs(session.push, release.id, [blob], progress)
                    left.discard(blob.digest)
        if left:
            raise HostRefused(
                f"{session.host.name}: nobody has {len(left)} blobs of {release.id}",
                hint="name the medium: bundle-install repair /media/stick",
            )
        return sent

    def _fetched(self, name: str, digests: list[str]) -> Iterator[OutgoingBlob]:
        """Yield the blobs that another host has, each after its bytes were found right; take one before the next."""
        donor = self._fleet.spare(name)
        try:
            for digest, size, pieces in releases.fetch_blobs(donor.admit, digests):
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


def _carries(bundle: Bundle, digest: str) -> bool:
    """Return whether the volume with the blob was staged: those of other targets were not."""
    try:
        volume, _ = bundle.place(digest)
    except UsageError:
        return False
    return volume.name in bundle.medium.names()

"""The trust of a site: begin, look, update, take away."""

from __future__ import annotations

from pathlib import Path

from bundler.deploy.places import Places
from bundler.deploy.state import hold
from bundler.deploy.trust_store import Trust, TrustStore, read_container
from bundler.errors import UsageError
from bundler.events import Emit, ignore
from bundler.model.trust import Distrust
from bundler.model.trust_json import FINGERPRINT
from bundler.signing.chain import root_digest
from bundler.signing.sshkeygen import public_key


def init_trust(places: Places, medium: Path, digest: str, emit: Emit = ignore) -> Trust:
    """Accept the first trust document of a medium by its digest, and those that follow it there.

    Raises:
        UsageError: The digest is none, or the medium has no first document.
        TrustRefused: It is another one, or too few signed it.
    """
    wanted = root_digest(digest)
    available = TrustStore.available(medium)
    if 1 not in available:
        raise UsageError(
            f"{medium} has no trust-0001",
            hint="name the directory that holds trust-0001 and the bundles",
        )
    with hold(places):
        store = TrustStore(places)
        store.init(read_container(available[1]), wanted)
        store.update(medium, emit)
        return store.current()


def update_trust(places: Places, medium: Path, emit: Emit = ignore) -> tuple[Trust, tuple[int, ...]]:
    """Walk along the trust documents of a medium; return what counts now, and the new versions.

    Raises:
        TrustMissing: There is no trust yet.
        TrustRefused: A document does not follow; those before it are kept.
    """
    with hold(places):
        store = TrustStore(places)
        versions = store.update(medium, emit)
        return store.current(), versions


def distrust(places: Places, kind: str, value: str, reason: str) -> Trust:
    """Trust a signer, a key or a bundle no longer, at this site alone.

    Raises:
        UsageError: It is no such thing.
    """
    found = {
        "signer": lambda: Distrust(signers=(value,)),
        "key": lambda: Distrust(keys=(_key(value),)),
        "bundle": lambda: Distrust(bundles=(root_digest(value),)),
    }[kind]()
    with hold(places):
        return TrustStore(places).add_distrust(found, reason)


def _key(text: str) -> str:
    """Return a key's fingerprint, given itself or the file of a public key."""
    if FINGERPRINT.fullmatch(text):
        return text
    if not Path(text).is_file():
        raise UsageError(
            f"{text!r} is neither a fingerprint nor the file of a public key",
            hint="SHA256:… as bundle-install trust show lists it",
        )
    return public_key(Path(text)).fingerprint

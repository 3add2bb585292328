"""What repo hosts say themselves that they have, each signed with its own host key, the one that is pinned here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bundler.deploy.session import Session
from bundler.errors import FormatError, HostKeyRefused, SignatureRefused
from bundler.model.site import RepoHost, Site
from bundler.model.site_known_hosts import MAX_SIZE, parse_known_hosts, pinned
from bundler.model.site_receipt import HostReceipt
from bundler.model.trust import RECEIPT_NAMESPACE
from bundler.repohost import releases
from bundler.signing import sshkeygen
from bundler.signing.allowed_signers import AllowedSigner
from bundler.signing.check import make_judge
from bundler.signing.keys import KINDS, PublicKey, parse_public_key
from bundler.signing.trust import Policy, count

_PRINCIPAL = "host"


def ask_receipt(session: Session, site: Site, key: str) -> HostReceipt:
    """Return what a host says of itself, signed with its ``key``, a path there.

    Raises:
        HostKeyRefused: No key is pinned by which it could be checked.
        SignatureRefused: It was signed with another key than the pinned ones.
        HostRefused: The login there cannot use the key.
    """
    text, signature = releases.host_receipt(session.admit, key)
    host = session.host
    signers = tuple(
        AllowedSigner(principal=_PRINCIPAL, namespaces=(RECEIPT_NAMESPACE,), key=one)
        for one in _keys(site, host, key)
    )
    if not signers:
        raise HostKeyRefused(
            f"{host.name}: no Ed25519 or ECDSA key of it is pinned, its receipt cannot be checked",
            hint=f"add a line to {site.ssh.known_hosts}, compared with the host's console",
        )
    policy = Policy(signers=signers, namespace=RECEIPT_NAMESPACE)
    try:
        count(policy, [make_judge(policy)(text, f"the receipt of {host.name}", signature)])
    except SignatureRefused as error:
        raise SignatureRefused(
            f"{host.name}: its receipt is not signed with a key that is pinned here: {error.message}",
            hint="name the key whose public half is in known_hosts: --host-key",
        ) from error
    return HostReceipt(name=host.name, lines=_lines(text), signature=_lines(signature))


def _keys(site: Site, host: RepoHost, key: str) -> Iterator[PublicKey]:
    """Yield the keys that a host is known by; this one is known by its own."""
    if host.transport == "local":
        yield sshkeygen.public_key(Path(key))
        return
    path = Path(site.ssh.known_hosts)
    try:
        with path.open("rb") as file:
            entries, _ = parse_known_hosts(file.read(MAX_SIZE + 1), str(path))
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}", hint="bundle-install site check") from error
    for entry in pinned(entries, host.address or host.name, host.port):
        if not entry.marker and entry.key.split()[0] in KINDS:
            yield parse_public_key(entry.key)


def _lines(data: bytes) -> tuple[str, ...]:
    return tuple(data.decode("utf-8", "replace").splitlines())

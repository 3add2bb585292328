"""Receipts: put together from what this site recorded, without asking any host; signed with its own host key.

What hosts say themselves may come with it (:mod:`bundler.deploy.host_receipts`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bundler.clock import iso, now
from bundler.deploy.audit import AuditLog, Record
from bundler.deploy.places import Places
from bundler.deploy.state import read_state
from bundler.errors import FormatError, Problem, StoreError
from bundler.files import make_directory, sha256_of, write
from bundler.model.site_receipt import (
    MAX_RECEIPT,
    HeldBundle,
    HostReceipt,
    HostState,
    Receipt,
    Sequence,
    format_receipt,
    parse_receipt,
)
from bundler.model.trust import RECEIPT_NAMESPACE, TRUST_JSON
from bundler.signing import sshkeygen
from bundler.version import own_version

HOST_KEY = Path("/etc/ssh/ssh_host_ed25519_key")
_TRUST = re.compile(r"trust-([0-9]{4,9})")


@dataclass(kw_only=True)
class _Host:
    """What the log has said of a host so far, by line and by bundle."""

    active: dict[str, HeldBundle] = field(default_factory=dict)
    staged: dict[str, HeldBundle] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        bundle = str(record.facts.get("bundle", ""))
        self.digests[bundle] = str(record.facts.get("digest") or self.digests.get(bundle, ""))
        if record.event == "staged":
            self.staged[bundle] = self._held(bundle, record.time)
        elif record.event in ("activated", "rolled back"):
            # An apply that failed says what it went back to beside what it had tried.
            self._activate(str(record.facts.get("active", bundle)), bundle.rpartition("-")[0], record.time)
        elif record.event == "pruned":
            for gone in record.facts.get("bundles", ()):
                self.staged.pop(str(gone), None)

    def _activate(self, bundle: str, line: str, time: str) -> None:
        before = self.active.pop(line, None)
        if before is not None and before.bundle != bundle:
            self.staged[before.bundle] = before
        if bundle:
            self.staged.pop(bundle, None)
            self.active[line] = self._held(bundle, time)

    def _held(self, bundle: str, time: str) -> HeldBundle:
        return HeldBundle(bundle=bundle, digest=self.digests.get(bundle, ""), since=time)


def known_hosts_state(places: Places) -> tuple[HostState, ...]:
    """Return what every host had when this site last changed it, by name, as the audit log has it."""
    hosts: dict[str, _Host] = {}
    for record in AuditLog(places.log).records():
        name = record.facts.get("host")
        if isinstance(name, str) and record.event in ("staged", "activated", "rolled back", "pruned"):
            hosts.setdefault(name, _Host()).take(record)
    return tuple(
        HostState(name=name, active=_sorted(host.active), staged=_sorted(host.staged))
        for name, host in sorted(hosts.items())
    )


def _sorted(held: dict[str, HeldBundle]) -> tuple[HeldBundle, ...]:
    return tuple(held[key] for key in sorted(held))


def trust_version(places: Places) -> int:
    """Return the version of the newest trust document that the site accepted, 0 without one."""
    if not places.trust.is_dir():
        return 0
    found = (_TRUST.fullmatch(entry.name) for entry in places.trust.iterdir() if (entry / TRUST_JSON).is_file())
    return max((int(match[1]) for match in found if match), default=0)


def make_receipt(site: str, places: Places, signed: tuple[HostReceipt, ...] = ()) -> Receipt:
    """Return what ``site`` has now, as far as it recorded it, and what its hosts say themselves."""
    state = read_state(places)
    records, head = AuditLog(places.log).position()
    return Receipt(
        site=site,
        time=iso(now()),
        tool=own_version(),
        trust_version=trust_version(places),
        records=records,
        head=head,
        hosts=known_hosts_state(places),
        sequences={
            line: Sequence(epoch=seen.epoch, sequence=seen.sequence, digest=seen.digest)
            for line, seen in sorted(state.seen.items())
        },
        signed=signed,
    )


def keep_receipt(receipt: Receipt, places: Places, key: Path, medium: Path | None) -> tuple[Path, ...]:
    """Sign the receipt with ``key``, write it with its signature here and on the medium, log that; return its files.

    Raises:
        SigningFailed: The key cannot sign.
        StoreError: The medium is no directory.
    """
    if medium is not None and not medium.is_dir():
        raise StoreError(f"{medium} is no directory", hint="mount the medium; receipts lie beside the bundles on it")
    data = format_receipt(receipt)
    signature = sshkeygen.sign(data, key, RECEIPT_NAMESPACE)
    make_directory(places.receipts)
    written = []
    for directory in (places.receipts, *([medium] if medium else [])):
        path = directory / receipt.file_name
        # The signature first: a receipt that is there has one.
        write(signature_path(path), signature)
        write(path, data)
        written.append(path)
    AuditLog(places.log).append("receipt", {"path": str(written[-1]), "sha256": sha256_of(written[0])})
    return tuple(written)


def signature_path(path: Path) -> Path:
    """Return where the signature of a receipt lies."""
    return path.with_name(path.name + ".sig")


def receipts(places: Places) -> Iterator[tuple[Path, Receipt | Problem]]:
    """Yield the receipts of this site, oldest first; a problem instead of one that cannot be read."""
    for path in sorted(places.receipts.glob("receipt-*.json")):
        yield path, _read(path)


def _read(path: Path) -> Receipt | Problem:
    try:
        with path.open("rb") as file:
            return parse_receipt(file.read(MAX_RECEIPT + 1), path.name)
    except FormatError as error:
        return Problem(where=path.name, what=error.message)
    except OSError as error:
        return Problem(where=path.name, what=f"cannot be read: {error.strerror}")

"""A site with trust of its own, and made-up bundles that come to it."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bundler.bundle.sticks import Ask
from bundler.deploy.audit import AuditLog
from bundler.deploy.intake import IntakeRequest, TakenIn, take_in
from bundler.deploy.places import Places
from bundler.deploy.trust_store import TrustStore
from bundler.errors import BundlerError
from bundler.events import Event
from bundler.model.site import Limits, Site
from bundler.model.sums import format_sums
from bundler.model.trust import TRUST_NAMESPACE, Distrust, TrustDocument, TrustedSigner, trust_directory
from bundler.model.trust_json import render
from bundler.signing import sshkeygen
from tests.bundles import (
    DEBIAN,
    Keys,
    bundle,
    installer,
    keys,
    make_bundle,
    sample,
    sampler,
    signed_bundle,
)
from tests.core.conftest import terminal

__all__ = ["bundle", "installer", "keys", "make_bundle", "sample", "sampler", "signed_bundle", "terminal"]


def document(keys: Keys, **changes: Any) -> TrustDocument:
    """Return a first trust document: mallory is its root, alice (two keys) and bob sign bundles."""

    def public(*names: str) -> tuple[str, ...]:
        return tuple(str(sshkeygen.public_key(keys.key(name))) for name in names)

    values: dict[str, Any] = {
        "version": 1,
        "signers": (
            TrustedSigner(name="alice", role="bundle", keys=public("alice", "alice-2")),
            TrustedSigner(name="bob", role="bundle", keys=public("bob")),
            TrustedSigner(name="root", role="root", keys=public("mallory")),
        ),
        **changes,
    }
    return TrustDocument(**values)


def container(keys: Keys, trust: TrustDocument) -> dict[str, bytes]:
    """Return the signed files of a trust document."""
    files = dict(render(trust))
    sums = format_sums({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    signature = sshkeygen.sign(sums, keys.key("mallory"), TRUST_NAMESPACE)
    return {**files, "SHA256SUMS": sums, "SHA256SUMS.root.sig": signature}


@dataclass
class SiteBench:
    """A site: its places, what it knows of itself, and what was said."""

    places: Places
    keys: Keys
    targets: tuple[str, ...] = (DEBIAN,)
    limits: Limits = field(default_factory=Limits)
    events: list[Event] = field(default_factory=list)

    def trust(self, **changes: Any) -> None:
        """Set up trust anew."""
        files = container(self.keys, document(self.keys, **changes))
        shutil.rmtree(self.places.trust, ignore_errors=True)
        TrustStore(self.places).init(files, hashlib.sha256(files["SHA256SUMS"]).hexdigest())

    def update(self, beside: Path, **changes: Any) -> None:
        """Put the next trust document beside a bundle."""
        trust = document(self.keys, version=2, **changes)
        directory = beside / trust_directory(2)
        directory.mkdir()
        for name, data in container(self.keys, trust).items():
            (directory / name).write_bytes(data)

    def distrust(self, **changes: Any) -> None:
        """Take something away from trust here."""
        TrustStore(self.places).add_distrust(Distrust(**changes))

    @property
    def site(self) -> Site:
        return Site(name="plant", targets=self.targets, limits=self.limits)

    def take(self, *media: Path, copy: bool = True, deep: bool = False, ask: Ask | None = None) -> TakenIn:
        request = IntakeRequest(media=media, places=self.places, site=self.site, copy=copy, deep=deep)
        return take_in(request, self.events.append, ask)

    def refusal(self, *media: Path, copy: bool = True, ask: Ask | None = None) -> BundlerError:
        """Return the error with which the site refuses; the log must have it too."""
        with pytest.raises(BundlerError) as caught:
            self.take(*media, copy=copy, ask=ask)
        assert self.logged()[-1] == "refused"
        return caught.value

    def logged(self) -> list[str]:
        return [record.event for record in AuditLog(self.places.log).records()]

    def staged(self) -> dict[str, bytes]:
        """Return the complete files in staging."""
        found = self.places.staging.glob("*/*")
        return {path.name: path.read_bytes() for path in found if not path.name.startswith(".")}


@pytest.fixture
def plant(tmp_path: Path, keys: Keys) -> SiteBench:
    """Give a site of one target that trusts alice and bob, one of whom must sign."""
    bench = SiteBench(Places(config=tmp_path / "etc", state=tmp_path / "var"), keys)
    bench.trust()
    return bench

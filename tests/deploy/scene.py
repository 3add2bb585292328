"""A whole site in a temporary directory: a stick, trust, a deployment host and repo hosts."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bundler.bundle.writer import write_bundle
from bundler.deploy.outcome import Applied
from bundler.deploy.places import Places
from bundler.deploy.plan import Plan
from bundler.deploy.trust_store import TrustStore
from bundler.errors import TransferFailed
from bundler.events import Emit, ignore
from bundler.model.site import Ssh, TransportName
from bundler.model.trust import TRUST_NAMESPACE, TrustDocument, TrustedSigner
from bundler.model.trust_json import render
from bundler.signing import sshkeygen
from bundler.transport.drivers import connect
from bundler.transport.limiter import Limiter
from bundler.transport.port import Channel, Ended, Endpoint, Transport
from bundler.workflows.site.apply import ApplyRequest, apply
from bundler.workflows.site.plan import PlanRequest, plan
from tests.bundles import Keys, Sample, make_sample
from tests.sshd import public

USER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
LINE = "demo-2026.1"


def sums(files: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())).encode()


@dataclass
class Scene:
    """The site. ``root(name)`` is where the repo host of that name has its files."""

    base: Path
    keys: Keys
    installer: Path
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        self.places = Places(config=self.base / "etc", state=self.base / "var")
        self.places.config.mkdir()
        self.stick.mkdir()
        self.trust(1)

    @property
    def stick(self) -> Path:
        return self.base / "stick"

    def root(self, name: str) -> Path:
        return self.base / "hosts" / name

    def trust(
        self,
        version: int,
        *,
        more: Sequence[TrustedSigner] = (),
        only: Sequence[TrustedSigner] = (),
        **changes: Any,
    ) -> None:
        """Let the site take a trust document: carol is root, alice and ``more`` sign bundles, or ``only`` others."""
        key = self.base / "carol"
        if not key.exists():
            sshkeygen.generate(key, "carol")
        document = TrustDocument(
            version=version,
            signers=(
                TrustedSigner(name="carol", role="root", keys=(public(key),)),
                *(
                    only
                    or (TrustedSigner(name="alice", role="bundle", keys=(public(self.keys.key("alice")),)), *more)
                ),
            ),
            **changes,
        )
        files = render(document)
        listed = sums(files)
        files |= {"SHA256SUMS": listed, "SHA256SUMS.carol.sig": sshkeygen.sign(listed, key, TRUST_NAMESPACE)}
        if version == 1:
            TrustStore(self.places).init(files, hashlib.sha256(listed).hexdigest())
            return
        directory = self.stick / f"trust-{version:04d}"
        directory.mkdir()
        for name, data in files.items():
            (directory / name).write_bytes(data)

    def bundle(self, sequence: int, sample: Sample | None = None, **changes: object) -> Path:
        """Put a bundle that alice signed onto the stick."""
        chosen = sample or make_sample(sequence)
        path = self.stick / f"{LINE}-{sequence}"
        write_bundle(
            chosen.plan(self.installer, sequence=sequence, created=1_700_000_000 + sequence, **changes),
            chosen.open,
            path,
            ignore,
        )
        self.keys.sign(path, "alice")
        return path

    def local(self, name: str, **changes: Any) -> dict[str, Any]:
        """Return a repo host on this machine."""
        root = self.root(name)
        root.mkdir(parents=True, exist_ok=True)
        return {"name": name, "transport": "local", "root": str(root), "owner": USER, "group": GROUP, **changes}

    def site(self, *hosts: dict[str, Any], **rest: Any) -> None:
        """Write ``site.yaml``; JSON is YAML."""
        self.places.site.write_text(json.dumps({"name": "here", "repo_hosts": hosts, **rest}))

    def plan(self, bundle: Path) -> Plan:
        return plan(PlanRequest(media=(bundle,), places=self.places))

    def apply(self, bundle: Path, emit: Emit = ignore) -> Applied:
        return apply(ApplyRequest(media=(bundle,), places=self.places), lambda _: True, emit)

    def serves(self, name: str, sample: Sample) -> bool:
        """Return whether a host serves every file of a sample, byte for byte."""
        root = self.root(name)
        return all(
            (root / file.path).is_file()
            and hashlib.sha256((root / file.path).read_bytes()).hexdigest() == file.sha256
            for file in sample.files
        )


def states(applied: Applied) -> dict[str, str]:
    return {one.host: one.state for one in applied.outcomes}


@dataclass
class Wires:
    """Stands between sessions and their connections: counts bytes, cuts, refuses. Hosts by name."""

    sent: Counter[str] = field(default_factory=Counter)
    #: After so many bytes to a host the connection is cut, once for each entry.
    cuts: dict[str, list[int]] = field(default_factory=dict)
    #: Another root than the site says, by host: where a shared root is not mounted.
    roots: dict[str, str] = field(default_factory=dict)
    #: All hosts are this one, whatever the site says.
    local: bool = False
    #: Who logs in, whatever the site says.
    user: str = ""
    #: Is told host and bytes before they are sent.
    watch: Callable[[str, bytes], None] = lambda _host, _data: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self, endpoint: Endpoint, transport: TransportName, ssh: Ssh, limiter: Limiter) -> Transport:
        endpoint = replace(endpoint, user=self.user or endpoint.user)
        inner = connect(endpoint, "local" if self.local else transport, ssh, limiter)
        return _CountedTransport(inner, self)


@dataclass
class _CountedTransport:
    inner: Transport
    wires: Wires

    @property
    def label(self) -> str:
        return self.inner.label

    def open(self, argv: Sequence[str]) -> Channel:
        with self.wires.lock:
            self.wires.sent[self.label] += sum(len(word) for word in argv)
        cuts = self.wires.cuts.get(self.label, [])
        argv = [*argv[:5], self.wires.roots.get(self.label, argv[5]), *argv[6:]]
        return _CountedChannel(self.inner.open(argv), self, cuts.pop(0) if cuts else -1)

    def close(self) -> None:
        self.inner.close()


@dataclass
class _CountedChannel:
    inner: Channel
    transport: _CountedTransport
    left: int

    def send(self, data: bytes) -> None:
        wires, name = self.transport.wires, self.transport.label
        wires.watch(name, data)
        if self.left >= 0:
            self.left -= len(data)
            if self.left < 0:
                self.inner.send(data[: len(data) + self.left])
                self.transport.close()
                raise TransferFailed(f"{name}: the connection was cut")
        with wires.lock:
            wires.sent[name] += len(data)
        self.inner.send(data)

    def end(self) -> None:
        self.inner.end()

    def line(self) -> bytes:
        return self.inner.line()

    def read(self, size: int) -> bytes:
        return self.inner.read(size)

    def finish(self) -> Ended:
        return self.inner.finish()

    def close(self) -> None:
        self.inner.close()

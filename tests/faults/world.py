"""A site as small as can be, made once; every trial works on a copy of it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from bundler.bundle.reader import open_bundle
from bundler.deploy.places import Places
from bundler.deploy.push import outgoing, signed_files
from bundler.files import sha256_of
from bundler.model.contents import LinkEntry, TargetEntry
from bundler.repohost import intake
from bundler.repohost.wire import Wire, WireOptions
from bundler.signing import sshkeygen
from tests.bundles import DEBIAN, Keys, Sample
from tests.deploy.scene import GROUP, LINE, USER, Scene

TOP = f"os-releases/2026.1/{DEBIAN}"
HOST = "a"


def tiny(number: int) -> Sample:
    """Return a release with every kind of content once.

    That is an archive of two blobs, one of them shared with every other such release, a file that is the same in all
    of them, one that is not, one of this release only, and a link.
    """
    sample = Sample()
    shared, own = (hashlib.shake_256(seed).digest(3000) for seed in (b"shared", b"own %d" % number))
    sample.file(f"{TOP}/venvs/k.tar.zst", [shared, own], DEBIAN)
    sample.file(f"{TOP}/wheels/same.html", [b"same\n"], DEBIAN)
    sample.file(f"{TOP}/wheels/index.html", [b"release %d\n" % number], DEBIAN)
    sample.file(f"constraints/upper_{number}.txt", [b"six==1.%d\n" % number], DEBIAN)
    sample.links.append(LinkEntry(path="constraints/upper_cached.txt", to=f"upper_{number}.txt", targets=(DEBIAN,)))
    return sample


def bundle_id(number: int) -> str:
    return f"{LINE}-{number}"


def options(root: Path) -> WireOptions:
    return WireOptions(root=str(root), owner=USER, group=GROUP)


class World:
    """Three signed releases on a stick, a second trust document elsewhere, and directories to begin from.

    ``start(name)``: a deployment host and its only repo host, by what was applied last.
    """

    def __init__(self, base: Path) -> None:
        base.mkdir(parents=True, exist_ok=True)
        self.base = base
        self.keys = _keys(base / "keys")
        installer = base / "bundle-install.pex"
        installer.write_bytes(b"#!/usr/bin/env python3\n")
        (base / "made").mkdir()
        self.scene = Scene(base / "made", self.keys, installer)
        target = TargetEntry(name=DEBIAN, distro="d", version="1", arch="x86_64", python="3.11.2", glibc="2.36")
        self.bundles = {
            number: self.scene.bundle(number, tiny(number), targets=(target,), evidence=[("lock.json", b"{}\n")])
            for number in (1, 2, 3)
        }
        (base / "starts").mkdir()
        self._save("new")
        for number in (1, 2, 3):
            move_in(self.scene.base)
            self.scene.apply(self.bundles[number]).require_success()
            self._save(str(number))
        self.scene.trust(2)
        self.later = base / "later"
        self.later.mkdir()
        shutil.move(self.scene.stick / "trust-0002", self.later)

    def start(self, name: str) -> Path:
        return self.base / "starts" / name

    def files(self, number: int) -> dict[str, str]:
        """Return path → digest of a release's files."""
        return {file.path: file.sha256 for file in tiny(number).files}

    def push(self, wire: Wire, number: int) -> None:
        """Send a host what it lacks of a release."""
        there = intake.blobs(wire)
        self.push_signed(wire, number)
        with open_bundle(self.bundles[number]) as bundle:
            missing = [digest for digest in tiny(number).blobs if digest not in there.complete]
            intake.send_blobs(wire, bundle_id(number), outgoing(bundle, missing, there.partial))

    def push_signed(self, wire: Wire, number: int) -> None:
        """Send a host the list of a release, its signatures and tables."""
        with open_bundle(self.bundles[number]) as bundle:
            intake.send_signed(wire, bundle_id(number), signed_files(bundle, [DEBIAN]))

    def hand_over(self, wire: Wire) -> None:
        """Send a host the second trust document, as another run would: if it has not got it."""
        if intake.look(wire).trust < 2:
            directory = self.later / "trust-0002"
            intake.send_trust(wire, [(2, {path.name: path.read_bytes() for path in directory.iterdir()})])

    def damage(self, host: Path) -> None:
        """Let a host that serves release 2 have other bytes, less, and more than was signed."""
        tree = host / ".bundles" / "releases" / bundle_id(2) / "tree"
        blob = host / ".bundles" / "blobs" / (own := self.files(2)[f"{TOP}/wheels/index.html"])[:2] / own
        index = tree / TOP / "wheels" / "index.html"
        index.unlink()
        index.write_bytes(b"release ?\n")
        assert sha256_of(blob) == own
        (tree / TOP / "venvs" / "k.tar.zst").unlink()
        (tree / "stray").mkdir()
        (host / TOP / "wheels" / "same.html").unlink()

    def _save(self, name: str) -> None:
        saved = self.start(name)
        saved.mkdir()
        for part in ("etc", "var", "hosts"):
            if (self.scene.base / part).exists():
                subprocess.run(["cp", "-a", self.scene.base / part, saved], check=True)


def places_of(root: Path) -> Places:
    return Places(config=root / "etc", state=root / "var")


def host_of(root: Path) -> Path:
    return root / "hosts" / HOST


def move_in(root: Path, retention: int = 2) -> None:
    """Let ``site.yaml`` lead to the repo host in this directory."""
    host = host_of(root)
    host.mkdir(parents=True, exist_ok=True)
    (root / "etc" / "site.yaml").write_text(
        f"name: here\nretention: {{keep: {retention}}}\nrepo_hosts:\n"
        f"- {{name: {HOST}, transport: local, root: {host}, owner: {USER}, group: {GROUP}}}\n"
    )


def _keys(directory: Path) -> Keys:
    directory.mkdir()
    for name in ("alice", "alice-2", "bob", "mallory"):
        sshkeygen.generate(directory / name, name)
    return Keys(directory, directory / "allowed_signers")

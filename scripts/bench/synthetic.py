"""Signed bundles of noise, of any size, and how long a command takes: for the benchmarks of the air-gapped half."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.bundle.layout import NAMESPACE, signature_name
from bundler.bundle.writer import BundlePlan, write_bundle
from bundler.events import ignore
from bundler.model.contents import FileEntry, TargetEntry
from bundler.signing import sshkeygen
from bundler.signing.allowed_signers import AllowedSigner, format_allowed_signers

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
TARGET = "debian-12-x86_64"


class Noise:
    """A file of ``size`` bytes that need not lie anywhere: a block of noise, made different by its number."""

    block = os.urandom(1 << 20)

    def __init__(self, number: int, size: int) -> None:
        self._head = number.to_bytes(16, "big")
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        size = min(self._left, len(self.block)) if size < 0 else min(size, self._left, len(self.block))
        piece = (self._head + self.block[len(self._head) :])[:size]
        self._left -= size
        return piece

    def pieces(self) -> Iterator[bytes]:
        """Yield all that is left."""
        while piece := self.read(1 << 20):
            yield piece

    def close(self) -> None:
        """Have nothing to close."""


@dataclass(frozen=True)
class Made:
    """A signed bundle, the key that signed it, who may sign, and its blobs: number and size by digest."""

    bundle: Path
    key: Path
    allowed_signers: Path
    blobs: dict[str, tuple[int, int]]


def make_bundle(work: Path, sizes: Sequence[int], volumes: int = 6) -> Made:
    """Write a signed bundle below ``work`` with a file of one blob for each of ``sizes`` (bytes)."""
    blobs: dict[str, tuple[int, int]] = {}
    files = []
    for number, size in enumerate(sizes):
        found = hashlib.sha256()
        for piece in Noise(number, size).pieces():
            found.update(piece)
        digest = found.hexdigest()
        blobs[digest] = number, size
        files.append(
            FileEntry(
                path=f"os-releases/1/{TARGET}/wheels/{number}.whl", size=size, sha256=digest, mode=0o644,
                targets=(TARGET,), blobs=(digest,),
            )
        )  # fmt: skip
    (work / "installer").write_bytes(b"#!/usr/bin/env python3\n")
    target = TargetEntry(name=TARGET, distro="debian", version="12", arch="x86_64", python="3.11.2", glibc="2.36")
    plan = BundlePlan(
        name="bench", version="1", sequence=1, floor=0, created=1, tool="bench",
        targets=(target,),
        files=tuple(files), links=(), venvs=(), blob_sizes={digest: size for digest, (_, size) in blobs.items()},
        compressed=frozenset(blobs), installer=work / "installer", evidence=[("lock", b"{}")],
        volume_size=sum(sizes) // volumes + max(sizes) + (1 << 20),
    )  # fmt: skip
    bundle = work / "bench-1-1"
    write_bundle(plan, lambda digest: Noise(*blobs[digest]), bundle, ignore)  # type: ignore[arg-type,return-value]
    sshkeygen.generate(work / "key", "alice")
    sums = (bundle / "SHA256SUMS").read_bytes()
    (bundle / signature_name("alice")).write_bytes(sshkeygen.sign(sums, work / "key", NAMESPACE))
    signer = AllowedSigner(principal="alice", namespaces=(NAMESPACE,), key=sshkeygen.public_key(work / "key"))
    (work / "allowed_signers").write_bytes(format_allowed_signers([signer]))
    return Made(bundle, work / "key", work / "allowed_signers", blobs)


def timed(*argv: str, stderr: Path | None = None) -> tuple[float, int]:
    """Run a command; return its wall seconds and its peak resident bytes."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    if stderr is not None:
        quiet.append((os.POSIX_SPAWN_OPEN, 2, str(stderr), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    started = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{' '.join(argv)} ended with {status}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def verdict(*, missed: bool) -> str:
    """Return how a figure stands to its limit."""
    return "MISSED" if missed else "ok"

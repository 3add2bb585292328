"""Measure `bundle-install verify` against coreutils' `sha256sum -c` on the same files, in one run on one machine.

    scripts/bench/verify.py [--size GB]

A synthetic bundle of noise in several volumes is made and signed. Both sides read it warm, taking turns, start-up
included; the best of a few runs counts on each side. A limit that is missed makes the exit status 1.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

from bundler.bundle.layout import NAMESPACE, signature_name
from bundler.bundle.writer import BundlePlan, write_bundle
from bundler.events import ignore
from bundler.model.contents import FileEntry, TargetEntry
from bundler.signing import sshkeygen
from bundler.signing.allowed_signers import AllowedSigner, format_allowed_signers

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
#: Of one blob: noise that zstd cannot make smaller.
BLOB = 64 << 20
TURNS = 3
RATIO, PEAK = 2.0, 200e6


class Noise:
    """A file of ``BLOB`` bytes that need not lie anywhere: one block of noise, made different by its number."""

    block = os.urandom(1 << 20)

    def __init__(self, number: int) -> None:
        self._head = number.to_bytes(16, "big")
        self._left = BLOB

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        size = min(self._left, len(self.block)) if size < 0 else min(size, self._left, len(self.block))
        piece = (self._head + self.block[len(self._head) :])[:size]
        self._left -= size
        return piece

    def close(self) -> None:
        """Have nothing to close."""


def make_bundle(work: Path, blobs: int) -> tuple[Path, Path]:
    """Write a signed bundle of so many blobs; return it and the allowed_signers file."""
    numbers: dict[str, int] = {}
    files = []
    for number in range(blobs):
        found, noise = hashlib.sha256(), Noise(number)
        while piece := noise.read(1 << 20):
            found.update(piece)
        digest = found.hexdigest()
        numbers[digest] = number
        targets = ("debian-12-x86_64",) if number % 2 else ("debian-12-x86_64", "ubuntu-24.04-x86_64")
        files.append(
            FileEntry(
                path=f"os-releases/{number}", size=BLOB, sha256=digest, mode=0o644, targets=targets, blobs=(digest,)
            )
        )
    (work / "installer").write_bytes(b"#!/usr/bin/env python3\n")
    plan = BundlePlan(
        name="bench", version="1", sequence=1, floor=0, created=1, tool="bench",
        targets=tuple(
            TargetEntry(name=name, distro="d", version="1", arch="x86_64", python="3.11.2", glibc="2.36")
            for name in ("debian-12-x86_64", "ubuntu-24.04-x86_64")
        ),
        files=tuple(files), links=(), venvs=(), blob_sizes=dict.fromkeys(numbers, BLOB),
        compressed=frozenset(numbers), installer=work / "installer", evidence=[("lock", b"{}")],
        volume_size=blobs * BLOB // 6 + BLOB,
    )  # fmt: skip
    bundle = work / "bundle"
    write_bundle(plan, lambda digest: Noise(numbers[digest]), bundle, ignore)  # type: ignore[arg-type,return-value]
    sshkeygen.generate(work / "key", "alice")
    sums = (bundle / "SHA256SUMS").read_bytes()
    (bundle / signature_name("alice")).write_bytes(sshkeygen.sign(sums, work / "key", NAMESPACE))
    signer = AllowedSigner(principal="alice", namespaces=(NAMESPACE,), key=sshkeygen.public_key(work / "key"))
    (work / "allowed_signers").write_bytes(format_allowed_signers([signer]))
    return bundle, work / "allowed_signers"


def timed(*argv: str) -> tuple[float, int]:
    """Run a command; return its wall seconds and its peak resident bytes."""
    started = time.perf_counter()
    pid = os.posix_spawn(
        argv[0], argv, os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )  # fmt: skip
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{' '.join(argv)} ended with {status}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def verdict(*, missed: bool) -> str:
    """Return how a figure stands to its limit."""
    return "MISSED" if missed else "ok"


def main() -> int:
    """Measure, print, and say by the exit status whether every limit held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=2.2, help="of the bundle, in GB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as temporary:
        bundle, allowed = make_bundle(Path(temporary), max(2, round(options.size * 1e9 / BLOB)))
        size = sum(entry.stat().st_size for entry in bundle.iterdir())
        print(f"{size / 1e9:.2f} GB in {len(list(bundle.glob('*.tar.zst')))} archives", flush=True)
        ours_argv = (str(BIN / "bundle-install"), "verify", str(bundle), "--allowed-signers", str(allowed))
        stock_argv = ("/usr/bin/env", "-C", str(bundle), "sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS")
        ours, stock, peak = [], [], 0
        for _ in range(TURNS):
            stock.append(timed(*stock_argv)[0])
            seconds, resident = timed(*ours_argv)
            ours.append(seconds)
            peak = max(peak, resident)
    ratio = min(stock) / min(ours)
    print(f"sha256sum -c                {min(stock):7.2f} s   {size / min(stock) / 1e6:7.0f} MB/s")
    print(f"bundle-install verify       {min(ours):7.2f} s   {size / min(ours) / 1e6:7.0f} MB/s")
    print(f"ratio                       {ratio:7.2f} x   limit {RATIO:g}   {verdict(missed=ratio < RATIO)}")
    print(f"peak resident memory        {peak / 1e6:7.1f} MB  limit {PEAK / 1e6:g}   {verdict(missed=peak > PEAK)}")
    return int(ratio < RATIO or peak > PEAK)


if __name__ == "__main__":
    sys.exit(main())

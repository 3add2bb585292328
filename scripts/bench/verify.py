"""Measure `bundle-install verify` against coreutils' `sha256sum -c` on the same files, in one run on one machine.

    scripts/bench/verify.py [--size GB]

A synthetic bundle of noise in several volumes is made and signed. Both sides read it warm, taking turns, start-up
included; the best of a few runs counts on each side. A limit that is missed makes the exit status 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from synthetic import BIN, make_bundle, timed, verdict

#: Of one blob: noise that zstd cannot make smaller.
BLOB = 64 << 20
TURNS = 3
RATIO, PEAK = 2.0, 200e6


def main() -> int:
    """Measure, print, and say by the exit status whether every limit held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=2.2, help="of the bundle, in GB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as temporary:
        made = make_bundle(Path(temporary), [BLOB] * max(2, round(options.size * 1e9 / BLOB)))
        bundle, allowed = made.bundle, made.allowed_signers
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

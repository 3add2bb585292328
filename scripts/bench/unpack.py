"""Measure `bundle-install unpack` of all venvs of a bundle against one `tar --zstd -xf` each, in one run.

    python scripts/bench/unpack.py BUNDLE [--repeat 3]

BUNDLE is what `bundle-build build manifests/openstack-bench.yaml` made. Both sides read the same archives from a
directory; start-up counts, and so does comparing digests, which tar does not do. The best wall time of each side is
compared; CPU seconds are shown too, which other work on the machine disturbs less. Exit status 1 below twice as fast.

ext4 without a journal passes over inodes that were freed minutes ago, which slows down whoever makes files: let five
minutes pass after much was removed, a run of this one included, or name another file system with --work.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bundler.bundle.reader import open_bundle
from bundler.files import sha256_of

BIN = Path(sys.executable).parent
LIMIT = 2.0


def timed(*commands: list[str]) -> tuple[float, float]:
    """Return wall and CPU seconds of commands, one after the other."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def archives(bundle: Path, into: Path) -> dict[str, str]:
    """Write the venv archives of a bundle's first target; return digests by name."""
    found = {}
    with open_bundle(bundle) as opened:
        target = opened.contents.targets[0].name
        for venv in opened.contents.venvs:
            if venv.target == target:
                path = into / Path(venv.archive).name
                with path.open("wb") as file:
                    for piece in opened.stream_file(venv.archive):
                        file.write(piece)
                found[path.name.removesuffix(".tar.zst")] = sha256_of(path)
    return found


def measure(bundle: Path, work: Path, repeat: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return what each run of ours and of tar took; they take turns."""
    source = work / "archives"
    source.mkdir()
    names = archives(bundle, source)
    options = [word for digest in names.values() for word in ("--sha256", digest)]
    ours, stock = [], []
    for turn in range(repeat):
        into = work / f"ours-{turn}"
        unpack = [str(BIN / "bundle-install"), "unpack", *names, *options, "--from", str(source), "--into", str(into)]
        os.sync()
        ours.append(timed([*unpack, "--quiet"]))
        places = {name: work / f"tar-{turn}" / name for name in names}
        for place in places.values():
            place.mkdir(parents=True)
        os.sync()
        tars = [
            ["tar", "--zstd", "-xf", str(source / f"{name}.tar.zst"), "-C", str(place)]
            for name, place in places.items()
        ]
        stock.append(timed(*tars))
        print(
            f"ours {ours[-1][0]:.2f} s ({ours[-1][1]:.2f} s CPU), tar {stock[-1][0]:.2f} s ({stock[-1][1]:.2f} s CPU)"
        )
    return ours, stock


def main() -> int:
    """Measure, print the ratios, and say by the exit status whether the limit held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--work", type=Path, help="where to unpack (a temporary directory)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-unpack-", dir=options.work) as work:
        ours, stock = measure(options.bundle, Path(work), options.repeat)
    wall = min(one[0] for one in stock) / min(one[0] for one in ours)
    cpu = min(one[1] for one in stock) / min(one[1] for one in ours)
    print(
        f"tar / ours: wall {wall:.2f} x (at least {LIMIT:g}: {'ok' if wall >= LIMIT else 'MISSED'}), CPU {cpu:.2f} x"
    )
    return int(wall < LIMIT)


if __name__ == "__main__":
    sys.exit(main())

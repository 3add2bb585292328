"""Measure the bytes of a bundle for seven services and two targets against what people carry today.

    .venv/bin/python scripts/bench/targets.py [--targets auto debian-13-x86_64]

*naive* is one tar of each venv and target and one tar of each target's wheels, each through `zstd -T0 -9`; the trees
are those of the bundle itself, bytecode included. Proofs are left out: they carry no byte. Exit status 1 above 0.45.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from bundler.archive.frames import open_frames
from bundler.bundle.reader import Bundle, open_bundle
from bundler.files import chunks

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LIMIT = 0.45


def build(work: Path, targets: list[str]) -> Path:
    """Build the bench release for ``targets``, unproved; return the bundle."""
    shutil.copytree(ROOT / "manifests", work / "manifests")
    manifest = work / "manifests" / "openstack-bench.yaml"
    text = manifest.read_text().replace("targets: [auto]", f"targets: [{', '.join(targets)}]")
    manifest.write_text(f"{text}\nproof: {{level: none, allow_unproved: true}}\n")
    out = work / "dist"
    subprocess.run([str(BIN / "bundle-build"), "build", str(manifest), "--out", str(out)], check=True)
    return next(path.parent for path in out.glob("*/bundle.json"))


def compressed(pieces: Iterable[bytes]) -> int:
    """Return how many bytes stock zstd makes of them."""
    with tempfile.TemporaryFile() as sink:
        process = subprocess.Popen(["zstd", "-q", "-T0", "-9"], stdin=subprocess.PIPE, stdout=sink)
        assert process.stdin is not None
        for piece in pieces:
            process.stdin.write(piece)
        process.stdin.close()
        assert process.wait() == 0
        return sink.seek(0, 2)


def plain(bundle: Bundle, archive: str, scratch: Path) -> Iterator[bytes]:
    """Yield the tar that a venv archive is."""
    path = scratch / "archive"
    with path.open("wb") as file:
        file.writelines(bundle.stream_file(archive))
    with path.open("rb") as file, open_frames(file) as reader:
        yield from chunks(reader)


def wheels(bundle: Bundle, target: str) -> Iterator[bytes]:
    """Yield the bytes of a target's wheels: a tar adds next to nothing to them."""
    for file in bundle.contents.files:
        if target in file.targets and file.path.endswith(".whl"):
            yield from bundle.stream_file(file.path)


def main() -> int:
    """Build, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=["auto", "debian-13-x86_64"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-targets-") as scratch:
        work = Path(scratch)
        path = build(work, options.targets)
        with open_bundle(path) as bundle:
            names = [target.name for target in bundle.contents.targets]
            venvs = sum(compressed(plain(bundle, venv.archive, work)) for venv in bundle.contents.venvs)
            loose = sum(compressed(wheels(bundle, name)) for name in names)
            volumes = [path / volume.name for volume in bundle.contents.volumes]
        carried = sum(volume.stat().st_size for volume in volumes)
    ratio = carried / (venvs + loose)
    print(f"naive: {len(names)} targets, venvs {venvs / 1e6:.1f} MB, wheels {loose / 1e6:.1f} MB")
    print(f"volumes of the bundle {carried / 1e6:.1f} MB, {ratio:.2f} x (at most {LIMIT})")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())

"""Measure a whole build against what people script today, in one run on one machine.

    make bench        (openstack-bench.yaml: seven OpenStack services, this host's target)

Baseline *naive*: per venv ``uv venv``, ``uv pip install --compile-bytecode``, ``tar | zstd -T0 -9``. Baseline *role*:
per venv ``pip wheel``, ``pip install``, ``tar | gzip``, as OpenStack-Ansible does it. Downloads are
warm on all sides: each baseline installs once before it is timed, and ours has its own stage for fetching. Figures
are ratios; a limit that is missed makes the exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tomli
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
PYTHON = "/usr/bin/python3"


@dataclass
class Run:
    """What one run of ours took: wall seconds, peak resident bytes of our process, seconds and size per stage."""

    wall: float
    peak: int
    stages: dict[str, float] = field(default_factory=dict)

    def of(self, *stages: str) -> float:
        """Return the seconds of ``stages`` together."""
        return sum(self.stages.get(stage, 0.0) for stage in stages)


@dataclass
class Line:
    """One figure against its limit."""

    what: str
    value: float
    unit: str
    limit: float | None = None

    def show(self) -> str:
        """Return the line as text."""
        verdict = (
            ""
            if self.limit is None
            else f"   limit {self.limit:g}   {'ok' if self.value <= self.limit else 'MISSED'}"
        )
        return f"{self.what:<66} {self.value:>9.3f} {self.unit:<4}{verdict}"


def peak_of(pid: int, stop: threading.Event, found: list[int]) -> None:
    """Watch the high-water mark of the resident memory of ``pid``."""
    while not stop.wait(0.2):
        try:
            status = Path(f"/proc/{pid}/status").read_text("ascii")
        except OSError:
            return
        found += [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")]


def ours(*arguments: str, env: dict[str, str]) -> Run:
    """Run bundle-build with JSON events and return its figures."""
    started = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as out,
        subprocess.Popen(
            [str(BIN / "bundle-build"), *arguments, "--json"], stdout=out, stderr=subprocess.PIPE, text=True, env=env
        ) as process,
    ):
        stop, found = threading.Event(), [0]
        watcher = threading.Thread(target=peak_of, args=(process.pid, stop, found))
        watcher.start()
        assert process.stderr is not None
        lines = process.stderr.readlines()
        status = process.wait()
        stop.set()
        watcher.join()
    if status:
        sys.exit(f"bundle-build {' '.join(arguments)} ended with {status}:\n" + "".join(lines[-20:]))
    run = Run(wall=time.perf_counter() - started, peak=max(found))
    for line in lines:
        event = json.loads(line)
        if event.get("event") == "StageFinished":
            run.stages[event["stage"]] = run.stages.get(event["stage"], 0.0) + event["seconds"]
    return run


def sh(command: str, cwd: Path, env: dict[str, str] | None = None) -> None:
    """Run one line of a baseline, as its users write it: in a shell."""
    argv = ["bash", "-euo", "pipefail", "-c", command]
    done = subprocess.run(argv, cwd=cwd, check=False, capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"the baseline failed: {command}\n{done.stderr[-2000:]}")


def naive(pins: dict[str, Path], work: Path) -> tuple[float, int]:
    """Return seconds and bytes of the naive script for all venvs; downloads and source builds are warm."""
    env = {
        **os.environ,
        "UV_CACHE_DIR": str(work / "uv-cache"),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_LINK_MODE": "hardlink",
    }
    uv = BIN / "uv"
    for name, file in pins.items():
        sh(f"{uv} venv -q -p {PYTHON} warm-{name}", work, env)
        sh(f"{uv} pip install -q -p warm-{name} --no-deps -r {file}; rm -rf warm-{name}", work, env)
    started = time.perf_counter()
    for name, file in pins.items():
        sh(f"{uv} venv -q -p {PYTHON} {name}", work, env)
        sh(f"{uv} pip install -q -p {name} --no-deps --compile-bytecode -r {file}", work, env)
        sh(f"tar -C {name} -c . | zstd -q -T0 -9 -o {name}.tar.zst", work, env)
    wall = time.perf_counter() - started
    size = sum((work / f"{name}.tar.zst").stat().st_size for name in pins)
    for name in pins:
        shutil.rmtree(work / name)
    return wall, size


def role(pins: dict[str, Path], work: Path) -> float:
    """Return seconds of what the role does for all venvs: one wheel folder, then an install per venv, then tar."""
    sh(f"{PYTHON} -m venv builder && builder/bin/pip install -q -U pip wheel 'setuptools<81' pbr", work)
    for file in pins.values():
        sh(f"builder/bin/pip download -q --no-deps -d warm -r {file}", work)
    started = time.perf_counter()
    for name, file in pins.items():
        sh(f"builder/bin/pip wheel -q --no-deps --no-index --no-build-isolation -f warm -w wheels -r {file}", work)
        sh(f"{PYTHON} -m venv role-{name}", work)
        sh(
            f"builder/bin/pip --python role-{name}/bin/python install -q --no-deps --no-index -f wheels -r {file}",
            work,
        )
        sh(f"tar -C role-{name} -czf role-{name}.tar.gz .", work)
        shutil.rmtree(work / f"role-{name}")
    return time.perf_counter() - started


def pins_of(lock: Path, work: Path) -> dict[str, Path]:
    """Write, per venv of the lock, a requirements file with its exact versions; return the files."""
    found = {}
    for file in sorted(lock.glob("*/pylock.*.toml")):
        name = file.name.split(".")[1]
        packages = tomli.loads(file.read_text("utf-8"))["packages"]
        pins = work / f"{name}.txt"
        pins.write_text("".join(f"{one['name']}=={one['version']}\n" for one in packages), "utf-8")
        found[name] = pins
    return found


def venv_bytes(bundle: Path) -> tuple[int, int]:
    """Return the bytes that the venv part takes in the bundle, with bytecode and without."""
    contents = json.loads((bundle / "bundle.json").read_text("utf-8"))
    sizes = {blob["sha256"]: blob["length"] for volume in contents["volumes"] for blob in volume["blobs"]}
    archives = {file["path"]: file["blobs"] for file in contents["files"]}
    used = {blob for venv in contents["venvs"] for blob in archives[venv["archive"]]}
    bytecode = {layer for venv in contents["venvs"] for one in venv["packages"] for layer in one["layers"][1:]}
    return sum(sizes[blob] for blob in used), sum(sizes[blob] for blob in used - bytecode)


def measure(manifest: Path, work: Path) -> list[Line]:
    """Run everything once and return the figures."""
    env = {**os.environ, "BUNDLE_STORE": str(work / "store"), "XDG_CONFIG_HOME": str(work / "config")}
    (work / "config").mkdir()
    lock = ("--lock-dir", str(work / "bench.lock"))
    build = (*lock, "--out", str(work / "dist"), "--development-key")
    print("lock, with nothing cached (not timed) ...", flush=True)
    ours("lock", str(manifest), *lock, env=env)
    shutil.rmtree(work / "bench.lock")
    print("lock, warm ...", flush=True)
    relock = ours("lock", str(manifest), *lock, env=env)
    print("build ...", flush=True)
    first = ours("build", str(manifest), *build, env=env)
    print("  " + ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in first.stages.items()), flush=True)
    print("build again, nothing changed ...", flush=True)
    again = ours("build", str(manifest), *build, env=env)
    print(f"  {again.wall:.1f} s; lock, warm: {relock.wall:.1f} s; peak: {first.peak / 1e6:.0f} MB", flush=True)
    bundle = next((work / "dist").glob("*/bundle.json")).parent
    pins = pins_of(work / "bench.lock", work)
    print("the naive script ...", flush=True)
    naive_wall, naive_bytes = naive(pins, work)
    print(f"  {naive_wall:.1f} s, {naive_bytes / 1e6:.1f} MB", flush=True)
    print("build, one package changed ...", flush=True)
    with one_package_changed(manifest) as changed:
        one = ours("build", str(changed), *build, env=env)
    print("  " + ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in one.stages.items()), flush=True)
    print("as the role does it ...", flush=True)
    role_wall = role(pins, work)
    made = first.of("layers", "archives")
    whole, without = venv_bytes(bundle)
    apart = ("fetch", "build", "proof", "attest", "installer", "pack", "sign", "verify")
    alone = one.wall - one.of("proof", "attest", "installer")
    return [
        Line("naive script: wall", naive_wall, "s"),
        Line("as the role does it: wall", role_wall, "s"),
        Line("ours: layers and archives", made, "s"),
        Line("ours / naive: wall of layers and archives", made / naive_wall, "x", 0.4),
        Line("ours / role: wall of layers and archives", made / role_wall, "x"),
        *(Line(f"ours: {stage}, on its own", first.of(stage), "s") for stage in apart),
        Line("ours / naive: bytes of the venv part", whole / naive_bytes, "x", 0.4),
        Line("ours / naive: the same, bytecode left to the site", without / naive_bytes, "x"),
        Line("rebuild, nothing changed / naive: wall", again.wall / naive_wall, "x", 0.03),
        Line("rebuild, one package changed / naive: wall but proof, SBOM", alone / naive_wall, "x", 0.15),
        Line("rebuild, one package changed / naive: wall, everything", one.wall / naive_wall, "x"),
        Line("lock of all venvs, warm", relock.wall, "s", 10),
        Line("peak resident memory of our process", max(first.peak, one.peak, relock.peak) / 1e6, "MB", 300),
    ]


@contextlib.contextmanager
def one_package_changed(manifest: Path) -> Iterator[Path]:
    """Yield a manifest beside ``manifest`` that includes it and holds one package of all venvs at another version."""
    layers = yaml.safe_load(manifest.read_text("utf-8"))["constraints"]
    document = {
        "schema": 1,
        "include": [manifest.name],
        "constraints": [{"name": "changed", "lines": ["pyparsing==3.2.3"]}, *layers],
    }
    copy = manifest.with_name(".bench-changed.yaml")
    copy.write_text(yaml.safe_dump(document), "utf-8")
    try:
        yield copy
    finally:
        copy.unlink()


def main() -> int:
    """Measure, print, and say by the exit status whether every limit held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, default=ROOT / "manifests" / "openstack-bench.yaml")
    parser.add_argument("--work", type=Path, help="keep everything in this directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        lines = measure(options.manifest, work.resolve())
    print()
    for line in lines:
        print(line.show())
    return int(any(line.limit is not None and line.value > line.limit for line in lines))


if __name__ == "__main__":
    sys.exit(main())

"""Measure a channel of each transport against scp, in one run on one machine.

    .venv/bin/python scripts/bench/push.py [--megabytes 1000] [--files 2000] [--rounds 3]

The same bytes go to one private sshd: one large file, and many small files (ours are one stream, as a push sends
blobs). Baseline *scp* is scp as it comes; *scp, aes128-gcm* has our cipher. Rounds alternate, the median counts. A
ratio of the ssh driver to scp below its limit makes the exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bundler.model.site import Ssh, TransportName
from bundler.transport.buffers import joined
from bundler.transport.drivers import connect
from bundler.transport.port import Endpoint, Transport
from tests.sshd import ADDRESS, Sshd

MB = 1_000_000
LIMIT = 0.9
SCP = "scp"


@dataclass
class Figures:
    """Wall and CPU seconds (of us and our ended children: not of sshd, nor of openssh's master) of each round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def main() -> int:
    """Run all rounds and print a line for each way and input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-push-")))
        sshd = stack.enter_context(Sshd(scratch / "sshd", options=["Subsystem sftp internal-sftp"]))
        inputs = {
            "one file": make_files(scratch / "one", 1, wanted.megabytes * MB),
            f"{wanted.files} files": make_files(scratch / "many", wanted.files, wanted.megabytes * MB // 4),
        }
        transports = {name: stack.enter_context(opened(sshd, name)) for name in ("ssh", "openssh")}
        results = [measure(sshd, transports, source, wanted.rounds) for source in inputs.values()]
    kept = [report(name, result) for name, result in zip(inputs, results, strict=True)]
    return 0 if all(kept) else 1


def make_files(directory: Path, count: int, size: int) -> Path:
    """Write ``count`` files of ``size`` bytes together, which do not compress."""
    directory.mkdir()
    for number in range(count):
        with (directory / f"{number:05}").open("wb") as file:
            left = size // count
            while left:
                left -= file.write(os.urandom(min(MB, left)))
    return directory


@contextlib.contextmanager
def opened(sshd: Sshd, name: TransportName) -> Iterator[Transport]:
    """Connect as a site would."""
    ssh = Ssh(identity=str(sshd.identity), agent=False, known_hosts=str(sshd.known_hosts))
    endpoint = Endpoint(name=name, address=ADDRESS, port=sshd.port, user=sshd.user)
    with contextlib.closing(connect(endpoint, name, ssh)) as transport:
        yield transport


def measure(sshd: Sshd, transports: dict[str, Transport], source: Path, rounds: int) -> dict[str, Figures]:
    """Send ``source`` in every way, in turn."""
    ways: dict[str, Callable[[Path], None]] = {
        SCP: lambda target: scp(sshd, source, target),
        "scp, aes128-gcm": lambda target: scp(sshd, source, target, "-c", "aes128-gcm@openssh.com"),
    }
    for name, transport in transports.items():
        ways[name] = lambda target, transport=transport: push(transport, source, target)
    figures = {name: Figures() for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            target = sshd.directory / "target"
            target.mkdir()
            wall, cpu = time.perf_counter(), cpu_seconds()
            way(target)
            figures[name].wall.append(time.perf_counter() - wall)
            figures[name].cpu.append(cpu_seconds() - cpu)
            assert size_of(target) == size_of(source), name
            shutil.rmtree(target)
    return figures


def push(transport: Transport, source: Path, target: Path) -> None:
    """Send all files as one stream."""
    channel = transport.open(["sh", "-c", 'cat > "$1"', "sh", str(target / "stream")])
    for piece in joined(pieces(source)):
        channel.send(piece)
    assert channel.finish().status == 0


def pieces(source: Path) -> Iterator[bytes]:
    """Read all files, a bounded piece at a time."""
    for path in sorted(source.iterdir()):
        with path.open("rb") as file:
            while data := file.read(MB):
                yield data


def scp(sshd: Sshd, source: Path, target: Path, *options: str) -> None:
    """Send all files with scp, a connection of its own included, as people run it."""
    subprocess.run(
        [
            *("scp", "-q", "-r", "-F", "none", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={sshd.known_hosts}"),
            *(*options, "-i", str(sshd.identity), "-P", str(sshd.port), str(source)),
            f"{sshd.user}@{ADDRESS}:{target}",
        ],
        check=True,
    )


def size_of(directory: Path) -> int:
    """Return the bytes of all files below ``directory``."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def cpu_seconds() -> float:
    """Return what this process and its ended children took so far."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def report(name: str, result: dict[str, Figures]) -> bool:
    """Print the medians; return whether the ssh driver keeps its limit."""
    base = statistics.median(result[SCP].wall)
    for way, figures in result.items():
        wall, cpu = statistics.median(figures.wall), statistics.median(figures.cpu)
        print(f"{name:12} {way:16} {wall:7.2f} s wall {cpu:7.2f} s cpu  {base / wall:5.2f} x scp")
    return base / statistics.median(result["ssh"].wall) >= LIMIT


if __name__ == "__main__":
    sys.exit(main())

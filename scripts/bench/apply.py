"""Measure bringing a bundle to a repo host: the push against scp, a second push, and memory on a large bundle.

    .venv/bin/python scripts/bench/apply.py [--megabytes 800] [--large 10]

A private sshd on this host is the far end. *push* is what `apply` sends to one host: read from the bundle's volumes
and checked, then received, hashed, brought to the disk and kept by the far end's script, connection included. *scp*
copies the same blobs as files (-r) to the same server with the same cipher, and checks nothing. Rounds alternate,
the median counts; CPU seconds are those of both ends. Then `bundle-install apply` runs over SSH, twice, and once on a
bundle of --large GB to a repo host on this machine; its peak memory is that of the process itself.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from synthetic import BIN, TARGET, Made, Noise, make_bundle, timed, verdict

from bundler.bundle.layout import SUMS
from bundler.bundle.reader import Bundle, open_bundle
from bundler.deploy.places import Places
from bundler.deploy.push import outgoing
from bundler.deploy.trust_store import TrustStore, read_container
from bundler.model.site import Ssh
from bundler.repohost.intake import send_blobs
from bundler.repohost.wire import WireOptions, open_wire
from bundler.signing import sshkeygen
from bundler.transport.drivers import connect
from bundler.transport.port import Endpoint
from bundler.workflows.trust import Change, Named, new_trust, sign_trust
from tests.sshd import ADDRESS, Sshd, descendants

ROUNDS = 5
PUSH, SECOND, PEAK = 0.9, 0.02, 200e6
CIPHER = "aes128-gcm@openssh.com"


def sizes_of(total: int) -> list[int]:
    """Return blob sizes as a release has them: many small ones, few large ones."""
    chosen = random.Random(1)  # noqa: S311  # the same sizes every time
    found: list[int] = []
    while sum(found) < total:
        found.append(min(20_000_000, int(chosen.paretovariate(0.8) * 20_000)))
    return found


@dataclass(frozen=True)
class Cost:
    """Wall seconds of a way, and the CPU seconds of all that took part at either end."""

    wall: float
    cpu: float


def cost(sshd: Sshd, way: Callable[[], None]) -> Cost:
    """Run one way; what others left to be written is on the disk before."""
    os.sync()
    before = cpu_seconds(sshd)
    started = time.perf_counter()
    way()
    wall = time.perf_counter() - started
    while descendants(sshd.pid):
        time.sleep(0.01)
    return Cost(wall, cpu_seconds(sshd) - before)


def cpu_seconds(sshd: Sshd) -> float:
    """Return the CPU seconds of this process, of the server, and of what either of them started and saw end."""
    fields = Path(f"/proc/{sshd.pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(field) for field in fields[11:15])
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return ticks / os.sysconf("SC_CLK_TCK") + sum(usage.ru_utime + usage.ru_stime for usage in usages)


def push(bundle: Bundle, sshd: Sshd, root: Path) -> None:
    """Send every blob of the bundle to a fresh root."""
    transport = connect(
        Endpoint(name="host", address=ADDRESS, port=sshd.port, user=sshd.user, identity=str(sshd.identity)),
        "ssh",
        Ssh(agent=False, known_hosts=str(sshd.known_hosts)),
    )
    wire = open_wire(transport, WireOptions(root=str(root)))
    digests = [blob.sha256 for volume in bundle.contents.volumes for blob in volume.blobs]
    send_blobs(wire, bundle.contents.id, outgoing(bundle, digests, {}))
    wire.close()
    transport.close()


def scp(source: Path, sshd: Sshd, target: Path) -> None:
    """Copy the same blobs as files."""
    subprocess.run(
        [
            "scp", "-q", "-r", "-F", "none", "-c", CIPHER, "-i", str(sshd.identity), "-P", str(sshd.port),
            "-o", f"UserKnownHostsFile={sshd.known_hosts}", str(source), f"{sshd.user}@{ADDRESS}:{target}",
        ],
        check=True,
    )  # fmt: skip


def write_files(made: Made, directory: Path) -> Path:
    """Write every blob of the bundle as a file of its own, for scp."""
    directory.mkdir()
    for digest, (number, size) in made.blobs.items():
        with (directory / digest).open("wb") as file:
            file.writelines(Noise(number, size).pieces())
    return directory


def make_site(work: Path, made: Made, host: str) -> None:
    """Write trust and site.yaml of a site with one host, and point the environment at them."""
    config = work / "config"
    shutil.rmtree(config, ignore_errors=True)
    shutil.rmtree(work / "state", ignore_errors=True)
    config.mkdir()
    chain = work / "trust"
    if not chain.exists():
        sshkeygen.generate(work / "root-key", "carol")
        signers = (Named(name="alice", key=made.key.with_suffix(".pub")),)
        new_trust(chain, Change(roots=(Named(name="carol", key=work / "root-key.pub"),), signers=signers))
        sign_trust(chain, work / "root-key", "carol", terminal=False)
    files = read_container(chain / "trust-0001")
    TrustStore(Places(config=config, state=work / "state")).init(files, hashlib.sha256(files[SUMS]).hexdigest())
    (config / "site.yaml").write_text(f"name: bench\ntargets: [{TARGET}]\nrepo_hosts:\n- {host}\n")
    os.environ |= {"BUNDLE_CONFIG_DIR": str(config), "BUNDLE_STATE_DIR": str(work / "state")}


def apply(bundle: Path, work: Path) -> tuple[float, float, int]:
    """Run `bundle-install apply`; return its seconds, those of its push stage, and its peak memory."""
    events = work / "events"
    seconds, peak = timed(str(BIN / "bundle-install"), "apply", "--yes", "--json", str(bundle), stderr=events)
    stages = [json.loads(line) for line in events.read_text().splitlines()]
    pushed = sum(
        event["seconds"] for event in stages if event["event"] == "StageFinished" and event["stage"] == "push"
    )
    return seconds, pushed, peak


def main() -> int:
    """Measure, print, and say by the exit status whether every limit held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=800)
    parser.add_argument("--large", type=float, default=10, help="GB; 0 leaves it out")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-apply-")))
        missed = _small(stack, work, options.megabytes * 1_000_000)
        if options.large:
            missed |= _large(work / "large", int(options.large * 1e9))
    return int(missed)


def _small(stack: contextlib.ExitStack, work: Path, total: int) -> bool:
    made = make_bundle(work, sizes_of(total))
    size = sum(size for _, size in made.blobs.values())
    sshd = stack.enter_context(Sshd(work / "sshd", options=["Subsystem sftp internal-sftp"]))
    source = write_files(made, work / "blobs")
    bundle = stack.enter_context(open_bundle(made.bundle))
    ours, theirs = [], []
    for number in range(ROUNDS):
        # Each into a place of its own: ext4 is slow to give out the numbers of files that were just removed.
        theirs.append(cost(sshd, functools.partial(scp, source, sshd, work / f"copied-{number}")))
        ours.append(cost(sshd, functools.partial(push, bundle, sshd, work / f"pushed-{number}")))
    print(f"{size / 1e6:.0f} MB in {len(made.blobs)} blobs", flush=True)
    for name, rounds in (("scp -r", theirs), ("push", ours)):
        wall, cpu = (statistics.median(getattr(one, field) for one in rounds) for field in ("wall", "cpu"))
        print(f"{name:<20}        {wall:7.2f} s   {size / wall / 1e6:7.0f} MB/s   {cpu:7.2f} s of CPU")
    ratio = statistics.median(one.wall for one in theirs) / statistics.median(one.wall for one in ours)
    print(f"ratio                       {ratio:7.2f} x   limit {PUSH:g}   {verdict(missed=ratio < PUSH)}", flush=True)
    login = f"address: {ADDRESS}, port: {sshd.port}, user: {sshd.user}, root: {work}/served"
    make_site(work, made, f"{{name: repo, {login}}}")
    with (work / "config/site.yaml").open("a") as file:
        file.write(f"ssh: {{identity: {sshd.identity}, agent: false, known_hosts: {sshd.known_hosts}}}\n")
    (first, first_push, _), (second, second_push, _) = apply(made.bundle, work), apply(made.bundle, work)
    share = second_push / first_push
    print(f"apply, first and second     {first:7.2f} s   {second:7.2f} s")
    print(f"push stage of the two       {first_push:7.2f} s   {second_push:7.2f} s")
    print(
        f"second push / first         {share:7.3f} x   limit {SECOND:g}   {verdict(missed=share > SECOND)}",
        flush=True,
    )
    return ratio < PUSH or share > SECOND


def _large(work: Path, total: int) -> bool:
    work.mkdir()
    made = make_bundle(work, [50_000_000] * (total // 50_000_000))
    make_site(work, made, f"{{name: repo, transport: local, root: {work}/served}}")
    seconds, _, peak = apply(made.bundle, work)
    print(f"apply of {total / 1e9:.0f} GB, locally     {seconds:7.1f} s")
    print(f"peak resident memory        {peak / 1e6:7.1f} MB  limit {PEAK / 1e6:g}   {verdict(missed=peak > PEAK)}")
    return peak > PEAK


if __name__ == "__main__":
    sys.exit(main())

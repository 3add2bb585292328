"""What is disturbed on a repo host: every request that changes something there, on real signed releases.

The far end is struck at each command that it runs (:mod:`tests.repohost.killer`), or the connection is cut before and
in the middle of each message. Each time what is served is one release as a whole, every other thing is as it was
before or as it is afterwards, no name stands for what it should not, and a second try ends as an undisturbed one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bundler.deploy.trust_store import TrustStore
from bundler.errors import TransferFailed
from bundler.files import sha256_of
from bundler.repohost import intake, releases
from bundler.repohost.wire import Wire, open_wire
from bundler.transport.port import Channel, Ended
from tests.bundles import DEBIAN
from tests.deploy.scene import LINE
from tests.faults.world import World, bundle_id, host_of, options, places_of
from tests.repohost.handmade import Host
from tests.repohost.killer import STRIDE, Fault, Killer, ShellChannel, ShellTransport, Trial, strike_each


@dataclass
class Look:
    """What lies on a repo host, read from its disk."""

    #: The release that is served as a whole; 0 if nothing or no whole release is.
    served: int = 0
    #: Release → path → digest, as they lie there under their names.
    releases: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Everything else that is there to stay: trust, sequences, blobs.
    rest: dict[str, str] = field(default_factory=dict)
    #: Names that only an interrupted run leaves.
    leftovers: list[str] = field(default_factory=list)


def _digests(top: Path) -> dict[str, str]:
    """Return path → digest, or where a link leads."""
    found = {}
    for folder, _, names in os.walk(top):
        for path in (Path(folder) / name for name in names):
            name = str(path.relative_to(top))
            found[name] = f"-> {path.readlink()}" if path.is_symlink() else sha256_of(path)
    return found


def _facts(release: Path) -> str:
    lines = (release / "facts").read_text().splitlines()
    return " ".join(line for line in lines if not line.startswith("admitted"))


def look(root: Path, world: World) -> Look:
    host, home = Host(root), root / ".bundles"
    found = Look(leftovers=host.leftovers())
    for number, bundle in world.bundles.items():
        wanted = world.files(number)
        link = root / "constraints" / "upper_cached.txt"
        whole = all((root / path).is_file() and sha256_of(root / path) == digest for path, digest in wanted.items())
        if whole and link.is_symlink() and str(link.readlink()) == f"upper_{number}.txt" and bundle.is_dir():
            found.served = number
    for release in home.glob("releases/[!.]*"):
        found.releases[release.name] = {**_digests(release / "tree"), "facts": _facts(release)}
    for path in (*home.glob("trust/[!.]*/*"), *home.glob("seen/*"), *home.glob("releases/[!.]*/signed/*")):
        found.rest[str(path.relative_to(home))] = path.read_text()
    for path in (*home.glob("blobs/??/*"), *home.glob("inbox/*/blobs/*")):
        found.rest[f"blob {path.name}"] = sha256_of(path)
    found.leftovers += [str(path) for path in (*home.glob("*/.new*"), *home.glob("*/.partial*"))]
    found.leftovers += [str(path) for path in (*home.glob("inbox/*/new/*"), *home.glob("inbox/*/*.new"))]
    return found


class Phase:
    """A request, or a few that belong together, to a repo host that has what ``begin`` says."""

    begin = "1"
    #: A release is mended where it lies: it may be seen half mended.
    in_place = False

    def __init__(self, world: World) -> None:
        self.world = world

    def prepare(self, wire: Wire) -> None:
        """Do what comes before, undisturbed."""

    def act(self, wire: Wire) -> None:
        raise NotImplementedError

    def damage(self, host: Path) -> None:
        """Change what is on the host's disk before."""


class Push(Phase):
    """Blobs, the signed list and the tables of a release go to the host's inbox."""

    def act(self, wire: Wire) -> None:
        self.world.push(wire, 2)


class HandOver(Phase):
    """A trust document goes to the host, which judges it."""

    def act(self, wire: Wire) -> None:
        self.world.hand_over(wire)


class Admit(Phase):
    """The host checks what was pushed, puts the release together and proves it."""

    def prepare(self, wire: Wire) -> None:
        self.world.push(wire, 2)

    def act(self, wire: Wire) -> None:
        # As the deployment host does: a release that is there is not sent again.
        if all(one.id != bundle_id(2) for one in intake.look(wire).releases):
            intake.admit(wire, bundle_id(2), [DEBIAN])


class Activate(Admit):
    """The host serves the release."""

    def prepare(self, wire: Wire) -> None:
        super().prepare(wire)
        super().act(wire)

    def act(self, wire: Wire) -> None:
        releases.activate(wire, bundle_id(2))


class ActivateFirst(Activate):
    """The host serves a release for the first time."""

    begin = "new"

    def prepare(self, wire: Wire) -> None:
        intake.send_trust(wire, TrustStore(places_of(self.world.start("new"))).containers())
        super().prepare(wire)


class Deactivate(Activate):
    """The host serves nothing again, as before its first release."""

    begin = "new"

    def prepare(self, wire: Wire) -> None:
        intake.send_trust(wire, TrustStore(places_of(self.world.start("new"))).containers())
        super().prepare(wire)
        super().act(wire)

    def act(self, wire: Wire) -> None:
        releases.deactivate(wire, LINE, bundle_id(2))


class Rollback(Phase):
    """The host serves the previous release again."""

    begin = "2"

    def act(self, wire: Wire) -> None:
        releases.rollback(wire, LINE, bundle_id(1))


class Prune(Phase):
    """The oldest release goes, with blobs that only it needed."""

    begin = "3"

    def act(self, wire: Wire) -> None:
        releases.prune(wire, [bundle_id(1)])


class Restore(Phase):
    """What was changed on the host's disk is put together again."""

    begin = "2"
    in_place = True

    def damage(self, host: Path) -> None:
        self.world.damage(host)

    def act(self, wire: Wire) -> None:
        missing = releases.restore(wire, bundle_id(2))
        assert missing == (), missing


class RestoreSigned(Phase):
    """Damaged tables and signatures of a release are replaced by what was sent again."""

    begin = "2"

    def damage(self, host: Path) -> None:
        signed = host / ".bundles" / "releases" / bundle_id(2) / "signed"
        (signed / f"files-{DEBIAN}.sha256").write_text("?\n")
        (signed / "release.txt").unlink()
        (signed / "stray").touch()

    def act(self, wire: Wire) -> None:
        # As the deployment host does: what is sound is not sent again.
        if releases.vouch(wire, bundle_id(2)).status:
            self.world.push_signed(wire, 2)
            releases.restore_signed(wire, bundle_id(2))


PHASES: Mapping[str, type[Phase]] = {
    "push": Push,
    "trust": HandOver,
    "admit": Admit,
    "first activate": ActivateFirst,
    "activate": Activate,
    "deactivate": Deactivate,
    "rollback": Rollback,
    "prune": Prune,
    "restore": Restore,
    "restore signed": RestoreSigned,
}


class FarEnd:
    """One phase, tried again and again below ``base``."""

    def __init__(self, phase: Phase, base: Path) -> None:
        self.phase = phase
        self.killer = Killer(base / "killer")
        self._host, self._template = base / "host", base / "template"
        self._scratch = base / "scratch"
        self._scratch.mkdir()
        start = host_of(phase.world.start(phase.begin))
        self._template.mkdir()
        if start.is_dir():
            subprocess.run(["cp", "-a", f"{start}/.", self._template], check=True)
        self._run(phase.prepare, self._template)
        phase.damage(self._template)
        self.prepare()
        self.old = self._look()
        self.act()
        self.new = self._look()
        assert self.old != self.new, "nothing changed"
        assert self.new.leftovers == [], self.new.leftovers

    def strike(self, fault: Fault, stride: int = STRIDE) -> int:
        """Strike at every ``stride``-th command of the far end; return how many were struck."""
        trial = Trial(prepare=self.prepare, act=self.act, judge=self.judge)
        return strike_each(self.killer, trial, fault, stride=stride)

    def cut(self, first: int = 1, stride: int = 1) -> int:
        """Cut the connection before and in the middle of every ``stride``-th message; return how often."""
        count = 0
        while True:
            self.prepare()
            cutter = Cutter(first + count * stride, self._env("tools"))
            try:
                self._run(self.phase.act, self._host, cutter)
            except TransferFailed as error:
                if not cutter.struck:
                    raise
                self.judge(f"{error} ({cutter.struck})")
            else:
                assert not cutter.struck, "cut, and nobody noticed"
                self.judge("")
                return count
            count += 1

    def prepare(self) -> None:
        shutil.rmtree(self._host, ignore_errors=True)
        subprocess.run(["cp", "-a", self._template, self._host], check=True)

    def act(self) -> None:
        self._run(self.phase.act, self._host, ShellTransport(self._env("bin")))

    def judge(self, hit: str) -> None:
        found = self._look()
        known = {served.served for served in (self.old, self.new)}
        assert found.served in known, f"{hit}: serves {found.served or 'a mixture'}"
        for name, files in found.releases.items():
            there = (self.old.releases.get(name), self.new.releases.get(name))
            assert files in there or self.phase.in_place, f"{hit}: {name} is neither old nor new"
        for name, value in found.rest.items():
            assert value in (self.old.rest.get(name), self.new.rest.get(name)), (
                f"{hit}: {name} is neither old nor new"
            )
        for name in self.old.rest.keys() & self.new.rest.keys():
            assert name in found.rest, f"{hit}: {name} is missing"
        self._run(self._again, self._host)
        again = self._look()
        wrong = [name for name in vars(again) if getattr(again, name) != getattr(self.new, name)]
        assert wrong == [], f"{hit}: the rerun ended elsewhere: {wrong} {again.served} {again.leftovers}"

    def _again(self, wire: Wire) -> None:
        """Do it again, then something else: a killed shell's lock goes with the next request that needs one."""
        self.phase.act(wire)
        wire.ask("take_trust", "0001")

    def _look(self) -> Look:
        return look(self._host, self.phase.world)

    def _run(self, work: Callable[[Wire], None], host: Path, transport: ShellTransport | None = None) -> None:
        transport = transport or ShellTransport(self._env("tools"))
        try:
            wire = open_wire(transport, options(host))
            work(wire)
            wire.close()
        finally:
            transport.close()

    def _env(self, commands: Literal["bin", "tools"]) -> dict[str, str]:
        """Return an environment whose commands may strike, or are the plain ones, which are quicker."""
        return {"PATH": str(self.killer.path.with_name(commands)), "TMPDIR": str(self._scratch)}


class Cutter(ShellTransport):
    """A connection that is cut at one of its messages: before it goes out, in its middle, or before an answer."""

    def __init__(self, number: int, env: Mapping[str, str]) -> None:
        super().__init__(env)
        self.left = number
        self.struck = ""

    def open(self, argv: Sequence[str]) -> Channel:
        channel = super().open(argv)
        assert isinstance(channel, ShellChannel)
        return _CutChannel(channel, self)

    def place(self, what: str) -> bool:
        self.left -= 1
        if self.left == 0:
            self.struck = what
        return self.left == 0


class _CutChannel:
    def __init__(self, inner: ShellChannel, cutter: Cutter) -> None:
        self._inner = inner
        self._cutter = cutter
        self._is_cut = False

    def send(self, data: bytes) -> None:
        self._must_be_whole()
        if self._cutter.place(f"before {data[:30]!r}"):
            self._cut()
        if self._cutter.place(f"amid {data[:30]!r}"):
            self._inner.send(data[: len(data) // 2])
            self._cut()
        self._inner.send(data)

    def line(self) -> bytes:
        self._must_be_whole()
        if self._cutter.place("before an answer"):
            self._cut()
        return self._inner.line()

    def _cut(self) -> None:
        """Both directions end; the far end goes on as long as it likes."""
        process = self._inner._process
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        process.wait()
        self._is_cut = True
        self._must_be_whole()

    def _must_be_whole(self) -> None:
        if self._is_cut:
            raise TransferFailed("the connection was cut")

    def end(self) -> None:
        self._inner.end()

    def read(self, size: int) -> bytes:
        return self._inner.read(size)

    def finish(self) -> Ended:
        return self._inner.finish()

    def close(self) -> None:
        self._inner.close()

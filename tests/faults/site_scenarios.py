"""What the injector disturbs on the deployment host: every part of a run that writes there, and whole runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from bundler import files
from bundler.bundle.reader import open_bundle
from bundler.deploy import session
from bundler.deploy.audit import AuditLog
from bundler.deploy.audit_check import check_log
from bundler.deploy.intake import IntakeRequest, take_in
from bundler.deploy.kept import keep_release, kept_releases
from bundler.deploy.local_prune import plan_local, prune_local
from bundler.deploy.state import read_state, record_bundle
from bundler.deploy.trust_store import TrustStore
from bundler.errors import BundlerError
from bundler.model.site import Site
from bundler.model.trust import Distrust
from bundler.workflows.site.apply import ApplyRequest, apply
from bundler.workflows.site.prune import PruneRequest, prune
from bundler.workflows.site.repair import RepairRequest, repair
from bundler.workflows.site.rollback import RollbackRequest, rollback
from tests.bundles import DEBIAN
from tests.deploy.scene import LINE
from tests.faults.far_end import Cutter, look
from tests.faults.scenarios import Scenario
from tests.faults.world import World, bundle_id, host_of, move_in, places_of

SITE = Site(name="here", targets=(DEBIAN,))


class SiteScenario(Scenario):
    """Begins with a copy of a deployment host. Whatever happens, its log is sound and its state can be read."""

    begin = "1"

    def __init__(self, world: World) -> None:
        self.world = world

    def prepare(self, root: Path) -> None:
        subprocess.run(["cp", "-a", f"{self.world.start(self.begin)}/.", root], check=True)

    def arrive(self, root: Path) -> None:
        move_in(root, retention=1)

    def state(self, root: Path) -> Any:
        read_state(places_of(root))
        log = AuditLog(places_of(root).log)
        lines = list(log.lines())
        torn = lines and lines[-1].record is None
        problems = check_log(log).problems
        # A torn last line is healed by whoever writes next.
        assert len(problems) <= (1 if torn else 0), problems
        return self.seen(root)

    def seen(self, root: Path) -> Any:
        raise NotImplementedError

    def leftovers(self, root: Path) -> list[str]:
        site = places_of(root)
        problems = check_log(AuditLog(site.log)).problems
        return [*super().leftovers(root), *map(str, problems)]


class Stage(SiteScenario):
    """A bundle is verified and copied from a stick."""

    #: What has a name in staging is right, and may be there before all of it is.
    between = ("a part",)

    def act(self, root: Path) -> None:
        take_in(IntakeRequest(media=(self.world.bundles[2],), places=places_of(root), site=SITE, copy=True))

    def seen(self, root: Path) -> Any:
        stick = self.world.bundles[2]
        with open_bundle(stick) as bundle:
            copy = places_of(root).staging / bundle.digest
        found = {path.name for path in copy.glob("*") if not path.name.startswith(".")}
        wrong = [name for name in found if (copy / name).read_bytes() != (stick / name).read_bytes()]
        assert wrong == [], wrong
        return "all" if len(found) == len(list(stick.iterdir())) else "a part" if found else "nothing"


class Trust(SiteScenario):
    """The next trust document comes on a stick."""

    def act(self, root: Path) -> None:
        TrustStore(places_of(root)).update(self.world.later)

    def seen(self, root: Path) -> Any:
        found = TrustStore(places_of(root)).containers()
        return [(version, sorted(container.items())) for version, container in found]

    def leftovers(self, root: Path) -> list[str]:
        files.recover_directory(places_of(root).trust / "trust-0002")
        return super().leftovers(root)


class LessTrust(SiteScenario):
    """A bundle is distrusted."""

    def act(self, root: Path) -> None:
        TrustStore(places_of(root)).add_distrust(Distrust(bundles=("ab" * 32,)))
        files.sweep(places_of(root).config)

    def seen(self, root: Path) -> Any:
        return TrustStore(places_of(root)).current().distrust


class Record(SiteScenario):
    """The highest sequence rises, and the log has it."""

    def act(self, root: Path) -> None:
        record_bundle(
            places_of(root), line=LINE, epoch=0, sequence=2, digest="ab" * 32, floor=1, created=1_800_000_000
        )
        files.sweep(places_of(root).state)

    def seen(self, root: Path) -> Any:
        return read_state(places_of(root))


class Log(SiteScenario):
    """A record is added to the audit log."""

    def act(self, root: Path) -> None:
        log = AuditLog(places_of(root).log)
        if "checked" not in [record.event for record in log.records()]:
            log.append("checked", {"host": "a", "differences": 0, "paths": []})

    def seen(self, root: Path) -> Any:
        return [record.event for record in AuditLog(places_of(root).log).records() if record.event != "recovered"]


class Keep(SiteScenario):
    """The documents of a release are kept."""

    begin = "2"

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        shutil.rmtree(places_of(root).releases / bundle_id(2))

    def act(self, root: Path) -> None:
        places = places_of(root)
        keep_release(places, places.staging / read_state(places).seen[LINE].digest)

    def seen(self, root: Path) -> Any:
        kept = places_of(root).releases
        return {path.relative_to(kept): path.read_bytes() for path in sorted(kept.glob("[a-z]*/*"))}


class PruneHere(SiteScenario):
    """Staged copies that no longer serve a purpose go, one by one."""

    begin = "3"
    between = ("on the way",)

    def act(self, root: Path) -> None:
        prune_local(plan_local(places_of(root)))

    def seen(self, root: Path) -> Any:
        places = places_of(root)
        newest = read_state(places).seen[LINE].digest
        with open_bundle(places.staging / newest) as bundle:
            assert bundle.contents.id == bundle_id(3)
        whole = {path.name: len(list(path.iterdir())) for path in places.staging.iterdir()}
        count = len(list(self.world.bundles[3].iterdir()))
        full = [name for name, files in whole.items() if files == count]
        return "old" if len(full) == 3 else "new" if list(whole) == [newest] else "on the way"


class WholeRun(SiteScenario):
    """A run with its repo host. State is what the host serves: wholly one release, and the site has seen it."""

    goal = 2

    def seen(self, root: Path) -> Any:
        served = look(host_of(root), self.world).served
        assert read_state(places_of(root)).seen[LINE].sequence >= served, "served before it was recorded"
        return served

    def leftovers(self, root: Path) -> list[str]:
        found = super().leftovers(root) + look(host_of(root), self.world).leftovers
        kept = kept_releases(places_of(root))
        return found + [f"{bundle_id(n)} was not kept" for n in range(1, self.goal + 1) if bundle_id(n) not in kept]


class Apply(WholeRun):
    """A release that was staged before goes to the repo host: staging has a scenario of its own."""

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        Stage(self.world).act(root)

    def act(self, root: Path) -> None:
        request = ApplyRequest(media=(self.world.bundles[2],), places=places_of(root))
        apply(request, lambda _: True).require_success()


class CutApply(Apply):
    """The connection is cut at one of the messages of an apply, which connects anew and goes on by itself."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(world)
        self.cutter = Cutter(number, os.environ)

    def act(self, root: Path) -> None:
        with mock.patch.object(session, "connect", return_value=self.cutter):
            super().act(root)


class Rollback(WholeRun):
    """The repo host goes back."""

    begin = "2"

    def act(self, root: Path) -> None:
        if self.seen(root) == 2:
            rollback(RollbackRequest(places=places_of(root), line=LINE)).require_success()


class PruneRun(WholeRun):
    """Old releases go from the repo host and from staging. State is which releases it has."""

    begin = "3"
    goal = 3

    def act(self, root: Path) -> None:
        prune(PruneRequest(places=places_of(root)), lambda _: True).require_success()

    def seen(self, root: Path) -> Any:
        assert super().seen(root) == 3
        return sorted(look(host_of(root), self.world).releases)


class Repair(WholeRun):
    """What was damaged on the repo host is put back. State is how many differences there are."""

    begin = "2"

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        self.world.damage(host_of(root))

    def act(self, root: Path) -> None:
        repair(RepairRequest(places=places_of(root))).require_success()

    def seen(self, root: Path) -> Any:
        return look(host_of(root), self.world).served or "damaged"


SITE_SCENARIOS: Mapping[str, Callable[[World], SiteScenario]] = {
    "stage": Stage,
    "trust": Trust,
    "distrust": LessTrust,
    "state": Record,
    "audit": Log,
    "kept": Keep,
    "staged copies": PruneHere,
}
RUNS: Mapping[str, Callable[[World], SiteScenario]] = {
    "apply": Apply,
    "rollback": Rollback,
    "prune": PruneRun,
    "repair": Repair,
}


def cut_apply(world: World, base: Path, first: int = 1, step: int = 1) -> int:
    """Cut the connection of an apply at every ``step``-th message; return how often it was cut."""
    root, template = base / "root", base / "template"
    template.mkdir()
    Apply(world).prepare(template)
    count = 0
    while True:
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "-a", template, root], check=True)
        scenario = CutApply(world, first + count * step)
        scenario.arrive(root)
        with contextlib.suppress(BundlerError):
            scenario.act(root)
        struck = scenario.cutter.struck
        assert scenario.state(root) in (1, 2), struck
        Apply(world).act(root)
        assert (scenario.state(root), scenario.leftovers(root)) == (2, []), struck
        if not struck:
            return count
        count += 1

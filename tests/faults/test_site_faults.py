"""The fault matrix: all places of the deployment host, some of every other cell; `make fault-matrix` tries all."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from bundler.deploy.audit import AuditLog
from bundler.deploy.audit_check import check_log
from bundler.deploy.state import read_state
from tests.deploy.scene import LINE, states
from tests.deploy.test_apply_ssh import Servers
from tests.faults.far_end import look
from tests.faults.matrix import CUT, Cell, cells, page
from tests.faults.world import World, bundle_id, host_of, move_in, places_of

ALL = tuple(cells())
PARTS = [cell for cell in ALL if cell.where == "deployment host" and cell.phase != "stage"]
#: Staging is tried everywhere in tests/intake; a signal besides those faults is enough here.
STAGE = [cell for cell in ALL if cell.phase == "stage" and cell.fault == "SIGTERM"]
OTHERS = [cell for cell in ALL if cell.where != "deployment host"]
INSTALL = Path(sys.executable).with_name("bundle-install")


def name(cell: Cell) -> str:
    return cell.name.replace(", ", "-").replace(" ", "-")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world") / "world")


@pytest.mark.slow
@pytest.mark.parametrize("cell", PARTS, ids=name)
def test_every_boundary_of_the_deployment_host(world: World, tmp_path: Path, cell: Cell) -> None:
    """Struck at any change of its disk, each part leaves the old or the new state, and a rerun converges."""
    assert cell.run(world, tmp_path, 1, 1) > 1


@pytest.mark.slow
@pytest.mark.parametrize("cell", STAGE, ids=name)
def test_staging_that_is_told_to_end(world: World, tmp_path: Path, cell: Cell) -> None:
    """A signal in the middle of staging leaves only right copies under their names; a rerun copies the rest."""
    assert cell.run(world, tmp_path, 1, 7) > 5


@pytest.mark.slow
@pytest.mark.parametrize("cell", OTHERS, ids=[f"{name(cell)}-{number}" for number, cell in enumerate(OTHERS)])
def test_some_boundaries_of_runs_and_repo_hosts(world: World, tmp_path: Path, cell: Cell) -> None:
    """Struck at some of their places, whole runs and repo hosts leave the old or the new state and converge."""
    step = 23 if cell.where == "whole run" else 29
    first = 1 + ALL.index(cell) % 3

    assert cell.run(world, tmp_path, first, step) > 0


def test_the_page_has_every_cell() -> None:
    """The published table has a row for each phase and a column for each fault."""
    text = page({(cell.where, cell.phase, cell.fault): 7 for cell in ALL})

    assert text.count("| 7 |") >= len({(cell.where, cell.phase) for cell in ALL})
    assert f"| {CUT} |" in text


def start_apply(root: Path, bundle: Path) -> subprocess.Popen[bytes]:
    site = places_of(root)
    places = [f"--config-dir={site.config}", f"--state-dir={site.state}"]
    return subprocess.Popen(
        [INSTALL, "apply", bundle, "--yes", *places], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.slow
def test_an_apply_that_is_ended_at_random_moments(world: World, tmp_path: Path) -> None:
    """SIGTERM at any moment leaves one whole release, recorded before it is served; the next apply serves the new."""
    moments = random.Random(3)
    subprocess.run(["cp", "-a", f"{world.start('1')}/.", tmp_path], check=True)
    move_in(tmp_path)
    bundle, ended = world.bundles[2], []

    for _ in range(6):
        run = start_apply(tmp_path, bundle)
        time.sleep(moments.uniform(0.2, 2.5))
        run.send_signal(signal.SIGTERM)
        ended.append(run.wait())
        served = look(host_of(tmp_path), world).served
        assert served in (1, 2)
        assert read_state(places_of(tmp_path)).seen[LINE].sequence >= served
    last = start_apply(tmp_path, bundle).wait()

    assert set(ended) <= {0, 128 + signal.SIGTERM, -signal.SIGTERM}
    assert last == 0
    assert look(host_of(tmp_path), world).served == 2
    assert check_log(AuditLog(places_of(tmp_path).log)).problems == ()


@pytest.mark.slow
@pytest.mark.sshd
def test_sessions_that_are_killed_at_random_moments(world: World, tmp_path: Path) -> None:
    """Two servers lose their sessions again and again: each serves one whole release, and the last apply the new."""
    scene, moments, over = world.scene, random.Random(5), threading.Event()
    with ExitStack() as stack:
        servers = Servers(scene, stack)
        sshds = {name: servers.start(name) for name in ("killed-1", "killed-2")}
        servers.site(*(servers.host(name, sshd) for name, sshd in sshds.items()), limits={"retries": 1})

        def cut() -> None:
            while not over.wait(moments.uniform(0.1, 1.5)):
                moments.choice(list(sshds.values())).cut()

        cutter = threading.Thread(target=cut)
        cutter.start()
        try:
            for _ in range(3):
                scene.apply(world.bundles[3])
                assert {look(scene.root(name), world).served for name in sshds} <= {0, 3}
        finally:
            over.set()
            cutter.join()
        applied = scene.apply(world.bundles[3])

        assert set(states(applied).values()) <= {"activated", "up to date"}
        assert {look(scene.root(name), world).served for name in sshds} == {3}
        assert {bundle_id(3)} == {one.id for one in [applied]}

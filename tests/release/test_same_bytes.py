"""Lock, sources and tools decide the bytes of a bundle: nothing else does, not even kill -9."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.release.conftest import World

pytestmark = [pytest.mark.network, pytest.mark.slow]


def test_another_place_umask_locale_and_zone_give_the_same_bytes(built: World, fresh: World) -> None:
    """The same lock in another directory with another store, umask, locale and time zone: identical SHA256SUMS."""
    old = os.umask(0o077)
    try:
        fresh.build(env={"LANG": "C", "LC_ALL": "POSIX", "TZ": "Pacific/Auckland", "PYTHONHASHSEED": "7"})
    finally:
        os.umask(old)

    assert fresh.sums == built.sums


def test_a_build_killed_at_any_moment_ends_the_same(built: World, fresh: World) -> None:
    """SIGKILL at random moments, each followed by another run: the last run gives the undisturbed bytes."""
    rounds = int(os.environ.get("BUNDLE_TEST_KILLS", "6"))
    generator = random.Random(int(os.environ.get("BUNDLE_TEST_SEED", time.time_ns())))
    command = fresh.command("build", fresh.manifest, "--out", fresh.out, "--development-key", "-q")
    killed = 0
    for _ in range(rounds):
        with subprocess.Popen(command, env=fresh.env(), cwd=fresh.root, start_new_session=True) as process:
            try:
                process.wait(generator.uniform(0.3, 9))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                killed += 1
    fresh.build()

    assert fresh.sums == built.sums
    assert killed

"""Every way of writing, stopped at every place where the disk changes: old or new, and a rerun converges."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

INJECTOR = Path(__file__).with_name("injector.py")
FAULTS = ("kill", "ENOSPC", "EIO")
SMALL = ("heal", "lock", "lock-two-renames", "put", "remember", "sign", "trust-walk")
#: These have many places: each is tried in the slow run, every so manieth in the fast one.
LARGE = ("bundle", "bundle-two-renames")


def inject(scenario: str, fault: str, directory: Path, step: int) -> int:
    """Return how many places were tried; an assertion of the injector fails the test with its message."""
    env = {**os.environ, "PYTHONPATH": str(INJECTOR.parents[2])}
    command = [sys.executable, str(INJECTOR), scenario, fault, str(directory), str(step)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    tried: int = json.loads(done.stdout)["tried"]
    return tried


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scenario", SMALL)
def test_a_write_that_is_stopped_anywhere_leaves_old_or_new(scenario: str, fault: str, tmp_path: Path) -> None:
    """Blobs, references, locks and signatures are old or new after a kill or a failing disk; a rerun converges."""
    assert inject(scenario, fault, tmp_path, 1) > 5


@pytest.mark.parametrize(
    ("step", "fault"),
    [(9, "kill"), *(pytest.param(1, fault, marks=pytest.mark.slow) for fault in FAULTS)],
)
@pytest.mark.parametrize("scenario", LARGE)
def test_a_bundle_that_is_stopped_anywhere_is_old_or_new(
    scenario: str, step: int, fault: str, tmp_path: Path
) -> None:
    """A bundle that takes the place of another is never a mixture, never missing, and ends as the same bytes."""
    assert inject(scenario, fault, tmp_path, step) > 100 // step

"""An unpack, or going back, that is stopped at any place where the disk changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLING = Path(__file__).with_name("killing.py")


@pytest.mark.parametrize(
    ("scenario", "step", "fault"),
    [
        ("unpack", 11, "kill"),
        ("back", 2, "kill"),
        *(pytest.param("unpack", 1, fault, marks=pytest.mark.slow) for fault in ("kill", "ENOSPC", "EIO")),
        *(pytest.param("back", 1, fault, marks=pytest.mark.slow) for fault in ("kill", "ENOSPC", "EIO")),
    ],
)
def test_a_run_that_is_stopped_anywhere_leaves_old_or_new(
    scenario: str, step: int, fault: str, tmp_path: Path
) -> None:
    """The link leads to the whole old venv or the whole new one; a rerun ends with the new one, without leftovers.

    So does a rerun of going back: it goes no further.
    """
    env = {**os.environ, "PYTHONPATH": str(KILLING.parents[2])}
    command = [sys.executable, str(KILLING), scenario, fault, str(tmp_path), str(step)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)

    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["tried"] > (40 if scenario == "unpack" else 4) // step

"""What `manifest from-openstack` makes of the real data of 2026.1 locks against the index, and fits together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Compiling for systemd is what root file systems are for; what is pure Python is built on this host.
ON_THIS_HOST = """\
schema: 1
include: [made.yaml]
targets: [auto]
build: {environment: host}
venvs:
  barbican: {targets: {debian: {remove: [systemd-python]}}}
  placement: {targets: {debian: {remove: [systemd-python]}}}
"""


@pytest.mark.network
@pytest.mark.slow
def test_two_services_lock_and_fit(place: Path) -> None:
    """Placement and barbican, from deliverables, upper constraints and pins to a lock that passes its check."""

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [Path(sys.executable).parent / "bundle-build", *arguments],
            cwd=place,
            env={**os.environ, "BUNDLE_STORE": str(place / "store")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    services = ("--service", "placement", "--service", "barbican")
    layers = ("--upper-constraints", "upper-constraints-2026.1.txt", "--pins", "osa-pins-33.0.1.txt")
    run("manifest", "from-openstack", "--deliverables", "deliverables", *layers, *services, "--out", "made.yaml")
    (place / "mine.yaml").write_text(ON_THIS_HOST)

    locked = json.loads(run("lock", "mine.yaml", "--json"))
    checked = json.loads(run("constraints", "check", "mine.yaml", "--json"))

    versions = {venv["venv"]: venv["packages"] for venv in locked["venvs"]}
    assert versions["placement"]["openstack-placement"] == "15.0.0"
    assert versions["barbican"]["barbican"] == "22.0.0"
    assert versions["barbican"]["setuptools"] == "80.10.2"
    assert (checked["violations"], checked["alone"], checked["together"], checked["unknown"]) == ([], [], [], [])
    assert {one["name"] for one in checked["shadowed"]} >= {"numpy", "django"}

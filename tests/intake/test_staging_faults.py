"""Staging stopped at every place where the disk changes: what has its name is right, and a rerun converges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bundler.deploy.places import Places
from tests.bundles import DEBIAN, Keys
from tests.faults.injector import Trial
from tests.faults.scenarios import Scenario
from tests.intake.conftest import SiteBench


class Stage(Scenario):
    """A bundle is copied from a medium into staging."""

    def __init__(self, bundle: Path, keys: Keys) -> None:
        self.bundle, self.keys = bundle, keys
        foreign = {entry.name for entry in bundle.iterdir() if entry.name.startswith("ubuntu")}
        self.files = {entry.name: entry.read_bytes() for entry in bundle.iterdir() if entry.name not in foreign}

    def _site(self, root: Path) -> SiteBench:
        return SiteBench(Places(config=root / "etc", state=root / "var"), self.keys, (DEBIAN,))

    def prepare(self, root: Path) -> None:
        self._site(root).trust()

    def act(self, root: Path) -> None:
        self._site(root).take(self.bundle)

    def state(self, root: Path) -> Any:
        """Return how it looks: what is there is right in every case."""
        found = self._site(root).staged()
        wrong = [name for name, data in found.items() if self.files.get(name) != data]
        return wrong or ("all" if len(found) == len(self.files) else "a part")


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        ("kill", 17),
        ("ENOSPC", 19),
        *(pytest.param(fault, 1, marks=pytest.mark.slow) for fault in ("kill", "ENOSPC", "EIO")),
    ],
)
def test_staging_that_is_stopped_anywhere(
    signed_bundle: Path, keys: Keys, tmp_path: Path, fault: str, step: int
) -> None:
    """After a kill or a failing disk at any place no wrong byte has a name, and a rerun copies the rest."""
    trial = Trial(Stage(signed_bundle, keys), fault, tmp_path)
    number = step

    while trial.strike(number):
        number += step

    assert number > 50

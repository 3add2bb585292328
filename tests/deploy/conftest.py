"""Sites for the tests of plan, apply and what comes afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bundles import Keys, Sample, installer, keys, make_sample
from tests.deploy.scene import Scene, Wires

__all__ = ["installer", "keys"]


@pytest.fixture
def scene(tmp_path: Path, keys: Keys, installer: Path) -> Scene:
    return Scene(tmp_path, keys, installer)


@pytest.fixture
def applied(scene: Scene) -> tuple[Sample, Sample]:
    """Return what two hosts, a and b, had and have: they went from release 1 to release 2."""
    samples = make_sample(1), make_sample(2)
    scene.site(scene.local("a"), scene.local("b"))
    for sequence, sample in enumerate(samples, 1):
        scene.apply(scene.bundle(sequence, sample)).require_success()
    return samples


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Wires:
    """Stand in between all connections; what waits between tries does not wait."""
    found = Wires()
    monkeypatch.setattr("bundler.deploy.session.connect", found.connect)
    monkeypatch.setattr("bundler.deploy.session.delays", lambda retries, _random: (0.01,) * retries)
    return found

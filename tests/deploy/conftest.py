"""Sites for the tests of plan, apply and what comes afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bundles import Keys, installer, keys
from tests.deploy.scene import Scene, Wires

__all__ = ["installer", "keys"]


@pytest.fixture
def scene(tmp_path: Path, keys: Keys, installer: Path) -> Scene:
    return Scene(tmp_path, keys, installer)


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Wires:
    """Stand in between all connections; what waits between tries does not wait."""
    found = Wires()
    monkeypatch.setattr("bundler.deploy.session.connect", found.connect)
    monkeypatch.setattr("bundler.deploy.session.delays", lambda retries, _random: (0.01,) * retries)
    return found

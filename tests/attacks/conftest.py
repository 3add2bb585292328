"""Bundles and sites for the attacks that no other test shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bundles import Keys, bundle, installer, keys, signed_bundle
from tests.deploy.scene import Scene

__all__ = ["bundle", "installer", "keys", "signed_bundle"]


@pytest.fixture
def scene(tmp_path: Path, keys: Keys, installer: Path) -> Scene:
    return Scene(tmp_path, keys, installer)

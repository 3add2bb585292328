"""Keys, made-up bundles, and trust documents with real signatures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bundles import (
    Keys,
    Sample,
    bundle,
    installer,
    keys,
    make_bundle,
    make_sample,
    sample,
    sampler,
    signed_bundle,
)
from tests.repohost.pushing import Roots, make_roots

__all__ = ["Keys", "bundle", "installer", "keys", "make_bundle", "sample", "sampler", "signed_bundle"]


@pytest.fixture(scope="session")
def roots(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """Return root keys, and what alice and bob sign with."""
    return make_roots(keys, tmp_path_factory.mktemp("roots"))


@pytest.fixture(scope="session")
def plain_sample() -> Sample:
    """Return what the session's signed bundle is made of."""
    return make_sample()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root whose name is an attempt on every shell."""
    path = tmp_path / 'it\'s $HOME "q" `x` * é ;'
    path.mkdir()
    return path

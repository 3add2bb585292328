"""What a site keeps of the bundles that it applied."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.deploy.kept import keep_release, kept_releases, open_kept
from bundler.errors import UsageError
from tests.intake.conftest import SiteBench

ID = "demo-2026.1-1795123456"


def test_everything_but_the_volumes_is_kept(bundle: Path, plant: SiteBench) -> None:
    """List, signatures, documents and evidence are kept under the bundle's id, for when the medium is gone."""
    taken = plant.take(bundle)
    assert taken.path is not None

    path = keep_release(plant.places, taken.path)

    names = {entry.name for entry in path.iterdir()}
    assert path == plant.places.releases / ID
    assert names == {name for name in plant.staged() if not name.endswith("001.tar.zst")}
    with open_kept(plant.places, ID) as kept:
        assert kept.contents == taken.verified.contents
        assert kept.digest == taken.verified.digest
        assert "locks/lock.json" in kept.evidence()


def test_keeping_again_takes_over_new_signatures(bundle: Path, plant: SiteBench) -> None:
    """The same bundle kept again replaces what was kept, at once."""
    for signer in ("alice", "bob"):
        plant.keys.sign(bundle, signer)
        taken = plant.take(bundle)
        assert taken.path is not None
        keep_release(plant.places, taken.path)

    assert kept_releases(plant.places) == (ID,)
    assert (plant.places.releases / ID / "SHA256SUMS.bob.sig").is_file()


def test_what_was_never_applied_is_said(plant: SiteBench) -> None:
    """An id that nothing was kept of is a mistake of the user; the known ones are named."""
    assert kept_releases(plant.places) == ()

    with pytest.raises(UsageError, match="other-1-1"), open_kept(plant.places, "other-1-1"):
        pass

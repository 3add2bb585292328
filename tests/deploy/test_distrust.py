"""What a site distrusts by itself, and trust that has moved on: nothing of it is served again, here or on a host."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from bundler.deploy.kept import require_trusted
from bundler.deploy.trust_store import TrustStore
from bundler.errors import BundleRevoked, SignatureRefused, UsageError
from bundler.model.trust import Distrust, TrustedSigner
from bundler.signing.keys import parse_public_key
from bundler.workflows.site.rollback import RollbackRequest, rollback
from bundler.workflows.site.venv import VenvRequest, install_venvs
from tests.bundles import DEBIAN, Sample, digest_of, make_sample
from tests.deploy.scene import LINE, Scene
from tests.sshd import public


@pytest.fixture
def site(scene: Scene) -> tuple[Sample, Sample]:
    """Return what a host had, signed by alice, and has, signed by bob; either of them is enough."""
    samples = make_sample(1), make_sample(2)
    scene.site(scene.local("a"))
    scene.apply(scene.bundle(1, samples[0])).require_success()
    scene.trust(2, more=[TrustedSigner(name="bob", role="bundle", keys=(public(scene.keys.key("bob")),))])
    newer = scene.bundle(2, samples[1])
    (newer / "SHA256SUMS.alice.sig").unlink()
    scene.keys.sign(newer, "bob")
    scene.apply(newer).require_success()
    return samples


def distrust(scene: Scene, kind: str) -> type[Exception]:
    """Trust less, by one of three ways to say so; return how release 1 is refused then."""
    key = parse_public_key(public(scene.keys.key("alice"))).fingerprint
    digest = digest_of((scene.places.releases / f"{LINE}-1" / "SHA256SUMS").read_bytes())
    value = {"signers": "alice", "keys": key, "bundles": digest}[kind]
    TrustStore(scene.places).add_distrust(Distrust(**{kind: (value,)}))
    return BundleRevoked if kind == "bundles" else SignatureRefused


@pytest.mark.parametrize("kind", ["signers", "keys", "bundles"])
def test_nothing_distrusted_is_gone_back_to(scene: Scene, site: tuple[Sample, Sample], kind: str) -> None:
    """A rollback to what this site distrusts is refused before a host is asked to; what is served stays."""
    rule = distrust(scene, kind)

    with pytest.raises(rule):
        rollback(RollbackRequest(places=scene.places))

    assert scene.serves("a", site[1])


@pytest.mark.parametrize("kind", ["signers", "keys", "bundles"])
def test_distrust_reaches_repo_hosts(scene: Scene, site: tuple[Sample, Sample], kind: str) -> None:
    """Where this host has nothing to judge by, each repo host is told whom to trust less, and refuses by itself."""
    rule = distrust(scene, kind)
    shutil.rmtree(scene.places.releases / f"{LINE}-1")
    if kind == "bundles":
        # Otherwise the plan refuses by the digest that the host has told.
        facts = scene.root("a") / ".bundles" / "releases" / f"{LINE}-1" / "facts"
        facts.write_text(facts.read_text().replace("digest ", "digest 0"))

    found = rollback(RollbackRequest(places=scene.places))

    with pytest.raises(rule):
        found.require_success()
    assert scene.serves("a", site[1])


def test_distrust_of_others_changes_nothing(scene: Scene, site: tuple[Sample, Sample]) -> None:
    """Who and what had no part in a release may be distrusted: it is gone back to all the same."""
    TrustStore(scene.places).add_distrust(Distrust(signers=("bob",), bundles=("a" * 64,)))

    rollback(RollbackRequest(places=scene.places)).require_success()

    assert scene.serves("a", site[0])


def test_a_release_is_judged_by_the_trust_of_today(scene: Scene, site: tuple[Sample, Sample]) -> None:
    """A trust document that leaves a signer out takes releases away that this signer alone vouched for."""
    require_trusted(scene.places, f"{LINE}-1")
    scene.trust(3, only=[TrustedSigner(name="bob", role="bundle", keys=(public(scene.keys.key("bob")),))])
    TrustStore(scene.places).update(scene.stick)

    with pytest.raises(SignatureRefused):
        require_trusted(scene.places, f"{LINE}-1")
    require_trusted(scene.places, f"{LINE}-2")


@pytest.mark.parametrize("release", ["", f"{LINE}-2"])
def test_no_venv_comes_from_a_release_that_is_distrusted(
    scene: Scene, site: tuple[Sample, Sample], release: str
) -> None:
    """Neither as the newest nor by name, and no older one is taken in its place; another release is."""
    TrustStore(scene.places).add_distrust(Distrust(signers=("bob",)))
    request = VenvRequest(places=scene.places, hosts=("root@nowhere",), venvs=("nova",), target=DEBIAN)

    with pytest.raises(SignatureRefused):
        install_venvs(replace(request, release=release))
    with pytest.raises(UsageError, match="has no venv nova"):
        install_venvs(replace(request, release=f"{LINE}-1"))

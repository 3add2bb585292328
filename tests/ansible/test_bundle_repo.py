"""The role `bundle_repo`: a bundle onto repo hosts, by real Ansible over a real sshd."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.conftest import Ansible, stamps
from tests.bundles import Keys, make_sample
from tests.deploy.scene import Scene
from tests.release.conftest import BIN
from tests.sshd import ADDRESS

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.sshd]

PLAY = """\
- hosts: deploy
  gather_facts: false
  roles: [offline.bundle.bundle_repo]
"""


@pytest.fixture
def scene(tmp_path: Path, keys: Keys) -> Scene:
    """Return a site whose bundles carry the installer under test."""
    installer = tmp_path / "installer"
    installer.write_text(f'#!/bin/sh\nexec "{BIN}/bundle-install" "$@"\n')
    return Scene(tmp_path, keys, installer)


def variables(scene: Scene, bundle: Path, **more: Any) -> dict[str, Any]:
    return {
        "bundle_repo_media": [str(bundle)],
        "bundle_repo_installer": str(scene.base / "bin" / "bundle-install"),
        "bundle_repo_config_dir": str(scene.places.config),
        "bundle_repo_state_dir": str(scene.places.state),
        **more,
    }


def checked_installer(scene: Scene, bundle: Path) -> dict[str, str]:
    (scene.base / "bin").mkdir(exist_ok=True)
    return {"bundle_repo_installer_from": str(bundle), "bundle_repo_allowed_signers": str(scene.keys.allowed)}


def without_trust(scene: Scene) -> str:
    """Take the site's trust away, put it onto the stick, and return its root digest."""
    shutil.move(scene.places.trust / "trust-0001", scene.stick / "trust-0001")
    shutil.rmtree(scene.places.trust)
    shutil.rmtree(scene.places.state, ignore_errors=True)
    return hashlib.sha256((scene.stick / "trust-0001" / "SHA256SUMS").read_bytes()).hexdigest()


def test_from_nothing_to_served(ansible: Ansible, scene: Scene) -> None:
    """Installer, trust and release come in one run; a second one and check mode find nothing to change."""
    ansible.hosts = {"deploy": {}}
    scene.site(scene.local("a"), scene.local("b"))
    sample = make_sample(1)
    bundle = scene.bundle(1, sample)
    digest = without_trust(scene)
    given = variables(
        scene,
        scene.stick,
        **checked_installer(scene, bundle),
        bundle_repo_root_digest=" ".join(digest[at : at + 8] for at in range(0, 64, 8)),
    )
    before = stamps(scene.base)

    foretold = ansible.play(PLAY, "--check", **given)
    assert stamps(scene.base) == before
    first = ansible.play(PLAY, **given)
    again = ansible.play(PLAY, **given)

    assert [played.changed["deploy"] for played in (foretold, first, again)] == [1, 3, 0]
    assert scene.serves("a", sample)
    assert scene.serves("b", sample)


def test_check_mode_plans(ansible: Ansible, scene: Scene) -> None:
    """For a newer release it says that something would change, and no host has anything of it; then it is applied."""
    ansible.hosts = {"deploy": {}}
    scene.site(scene.local("a"))
    first = scene.bundle(1, make_sample(1))
    scene.apply(first).require_success()
    newer = scene.bundle(2, make_sample(2))
    given = variables(scene, newer, bundle_repo_installer=str(BIN / "bundle-install"))
    before = stamps(scene.root("a"))

    foretold = ansible.play(PLAY, "--check", **given)
    assert stamps(scene.root("a")) == before
    scene.apply(newer).require_success()
    settled = ansible.play(PLAY, "--check", **given)

    assert [played.changed["deploy"] for played in (foretold, settled)] == [1, 0]
    assert '"doing": "send, prove, activate"' in foretold.text


def test_a_forged_installer_is_never_run(ansible: Ansible, scene: Scene) -> None:
    """What is not the signed installer, or is signed by nobody who may, is not put into place; the reason is said."""
    ansible.hosts = {"deploy": {}}
    scene.site(scene.local("a"))
    bundle = scene.bundle(1, make_sample(1))
    (bundle / "bundle-install").write_text(f"#!/bin/sh\ntouch {scene.base}/ran\n")
    given = variables(scene, bundle, **checked_installer(scene, bundle))
    forged = ansible.play(PLAY, fails=True, **given)
    (bundle / "SHA256SUMS.alice.sig").rename(bundle / "SHA256SUMS.bob.sig")
    renamed = ansible.play(PLAY, fails=True, **given)

    assert "1 count, of 1 that are wanted, and its digest is not the signed one" in " ".join(forged.text.split())
    assert "0 count, of 1 that are wanted" in " ".join(renamed.text.split())
    assert list((scene.base / "bin").iterdir()) == []
    assert not (scene.base / "ran").exists()


def test_a_failed_host_is_named_with_its_reason(ansible: Ansible, scene: Scene) -> None:
    """What stopped the fleet stands in the task's message, with host and hint; so does a site without trust."""
    ansible.hosts = {"deploy": {}}
    away = {
        "name": "away",
        "address": ADDRESS,
        "port": 1,
        "targets": [],
        "root": "/srv/x",
        "owner": "o",
        "group": "g",
    }
    ssh = {"identity": str(ansible.sshd.identity), "agent": False, "known_hosts": str(ansible.sshd.known_hosts)}
    scene.site(scene.local("a"), {**away, "targets": ["debian-12-x86_64"]}, ssh=ssh)
    bundle = scene.bundle(1, make_sample(1))
    given = variables(scene, bundle, bundle_repo_installer=str(BIN / "bundle-install"))
    stopped = ansible.play(PLAY, fails=True, **given)
    without_trust(scene)
    trustless = ansible.play(PLAY, fails=True, **given)

    assert "away: " in stopped.text
    assert "Connection refused" in stopped.text
    assert "What to do: " in stopped.text
    assert stopped.failed == ["deploy"]
    assert "This site has no trust yet" in trustless.text

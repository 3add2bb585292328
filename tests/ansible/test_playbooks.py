"""The collection's playbooks: bundles from a build host, and finished ones to a site."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bundler.bundle.layout import SUMS
from tests.ansible.conftest import COLLECTION, Ansible
from tests.bundles import Keys, make_sample
from tests.deploy.scene import Scene
from tests.release.conftest import BIN, World
from tests.unpack.conftest import serving

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.sshd]


@pytest.mark.parametrize("form", ["directory", "files", "archive"])
def test_finished_artefacts_are_staged(
    ansible: Ansible, tmp_path: Path, keys: Keys, installer: Path, form: str
) -> None:
    """A job's directory, its files over HTTP, or an archive come, are checked and served; again: nothing."""
    scene = Scene(tmp_path, keys, installer)
    scene.site(scene.local("a"))
    sample = make_sample(1)
    bundle = scene.bundle(1, sample)
    ansible.hosts = {"deploy": {}}
    subprocess.run(["tar", "-czf", scene.base / "job.tar.gz", "-C", scene.stick, "."], check=True)
    with serving(scene.base) as url:
        given: dict[str, Any] = {
            "stage_offline_hosts": "deploy",
            "stage_offline_into": str(tmp_path / "fetched"),
            "stage_offline_signers": ["alice"],
            "stage_offline_source": {
                "directory": str(bundle),
                "files": f"{url}/stick/{bundle.name}",
                "archive": f"{url}/job.tar.gz",
            }[form],
            "bundle_repo_installer": str(BIN / "bundle-install"),
            "bundle_repo_config_dir": str(scene.places.config),
            "bundle_repo_state_dir": str(scene.places.state),
        }
        if form == "archive":
            given["stage_offline_sha256"] = hashlib.sha256((scene.base / "job.tar.gz").read_bytes()).hexdigest()
        if form == "files":
            foretold = ansible.play("offline.bundle.stage_offline", "--check", **given)
            assert "would be fetched" in foretold.text
            assert not (tmp_path / "fetched").exists()
        first = ansible.play("offline.bundle.stage_offline", **given)
        if form != "directory":
            assert ansible.play("offline.bundle.stage_offline", **given).changed == {"deploy": 0}

    assert first.changed["deploy"] > 0
    assert scene.serves("a", sample)


def test_a_build_host_builds(ansible: Ansible, built: World, tmp_path: Path) -> None:
    """The bundle of a manifest is built there and fetched whole, neither of them again; errors are said."""
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(built.manifest, source)
    shutil.copytree(built.lock, source / built.lock.name)
    ansible.hosts = {"builder": {}}
    given: dict[str, Any] = {
        "build_venvs_hosts": "builder",
        "build_venvs_manifest": str(source / built.manifest.name),
        "build_venvs_into": str(tmp_path / "fetched"),
        "build_venvs_work": str(tmp_path / "work"),
        "build_venvs_program": str(BIN / "bundle-build"),
        "build_venvs_environment": {
            name: built.env()[name] for name in ("PATH", "HOME", "BUNDLE_STORE", "XDG_CONFIG_HOME")
        },
    }
    first, again = (ansible.play("offline.bundle.build_venvs", **given) for _ in range(2))
    (source / built.manifest.name).write_text("schema: 1\n")
    broken = ansible.play("offline.bundle.build_venvs", fails=True, **given)

    (fetched,) = (tmp_path / "fetched").iterdir()
    assert (fetched / SUMS).read_bytes() == (tmp_path / "work" / "out" / fetched.name / SUMS).read_bytes()
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", SUMS], cwd=fetched, check=True)
    assert first.changed["builder"] > 0
    assert again.changed == {"builder": 0}
    assert "release" in broken.text.partition("Say why it was not built")[2]


def test_the_collection_is_clean(linter: Path, tmp_path: Path) -> None:
    """ansible-lint has nothing to say at its strictest."""
    copy = tmp_path / "collection"
    shutil.copytree(COLLECTION, copy, ignore=shutil.ignore_patterns(".ansible"))
    env = {**os.environ, "PATH": os.pathsep.join([str(linter), os.environ["PATH"]]), "HOME": str(tmp_path)}
    words = [str(linter / "ansible-lint"), "--offline", "--nocolor", "--profile", "production", "."]
    done = subprocess.run(words, cwd=copy, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr

"""A play that does what OpenStack-Ansible's role does, on a repo host that `apply` has filled: nothing is fetched."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bundler.buildenv.host_target import host_target
from bundler.bundle.reader import open_bundle
from bundler.deploy.places import Places
from bundler.deploy.trust_store import TrustStore, read_container
from bundler.model.contents import Contents
from bundler.model.openstack_ansible import HEADER
from bundler.workflows.site.apply import ApplyRequest, apply
from bundler.workflows.site.check import CheckRequest, check
from bundler.workflows.site.repair import RepairRequest, repair
from tests.ansible.conftest import Ansible, Played, stamps
from tests.release.conftest import World
from tests.serving.web import ours

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.sshd]

PLAY = Path(__file__).with_name("role.yml")
OPENSTACK = os.environ.get("BUNDLE_TEST_OPENSTACK", "")


@dataclass
class Site:
    """A repo host that has a release and serves it."""

    base: Path
    places: Places
    contents: Contents
    url: str

    @property
    def root(self) -> Path:
        return self.base / "www"

    @property
    def target(self) -> str:
        return host_target().name

    @property
    def release(self) -> str:
        (found,) = (path.name for path in (self.root / "os-releases").iterdir())
        return found

    @property
    def requirements(self) -> Path:
        return self.root / "os-releases" / self.release / self.target / "requirements"

    def play(self, ansible: Ansible, venv: Path, *options: str, fails: bool = False, **more: Any) -> Played:
        """Run the play for one service host."""
        ansible.hosts = {"services": {}, "repo": {}}
        first = next(self.requirements.glob("*-constraints.txt")).read_text().splitlines()[0]
        given = {
            "venv": str(venv),
            "repo_root": str(self.root),
            "repo_url": self.url,
            "repo_host": "repo",
            "release": self.release,
            "target": self.target,
            "python": "/usr/bin/python3",
            "work": str(venv.parent / "work"),
            "header": first == HEADER,
            "install_args": "--no-index",
            "build_args": "--no-index",
        }
        return ansible.play(PLAY, *options, fails=fails, **{**given, **more})


def _served(bundle: Path, base: Path) -> Iterator[Site]:
    """Bring a bundle to a repo host of a new site, and serve that."""
    places = Places(config=base / "etc", state=base / "var")
    trust = read_container(bundle.parent / "trust-0001")
    TrustStore(places).init(trust, hashlib.sha256(trust["SHA256SUMS"]).hexdigest())
    (base / "www").mkdir()
    owner, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    host = {"name": "repo", "transport": "local", "root": str(base / "www"), "owner": owner, "group": group}
    places.site.write_text(json.dumps({"name": "here", "targets": [host_target().name], "repo_hosts": [host]}))
    apply(ApplyRequest(media=(bundle,), places=places), lambda _: True).require_success()
    with open_bundle(bundle) as opened, ours(base / "www") as server:
        yield Site(base, places, opened.contents, server.url)


@pytest.fixture(scope="module")
def site(built: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from _served(built.bundle, tmp_path_factory.mktemp("site"))


def installed(venv: Path) -> list[str]:
    """Return what a venv has, as the role writes constraints."""
    said = subprocess.run(
        [venv / "bin" / "python", "-m", "pip", "--isolated", "list", "--format=freeze"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line.lower() for line in said.stdout.splitlines()]


def test_what_lies_there_is_installed(ansible: Ansible, site: Site, tmp_path: Path) -> None:
    """Without the build part a venv is made of the repo host alone, git sources by their names; again: nothing."""
    before = stamps(site.root)
    packages = ["git+https://git.invalid/bottle@0123456#egg=bottle", "click"]
    first, again = (
        site.play(ansible, tmp_path / "web-1", "--skip-tags", "build", packages=packages) for _ in range(2)
    )

    assert first.changed["services"] > 0
    assert again.changed == {"services": 0}
    constraints = (site.requirements / "web-1-constraints.txt").read_text().splitlines()
    assert set(constraints) <= set(installed(tmp_path / "web-1"))
    assert stamps(site.root) == before
    assert not (tmp_path / "work").exists()


def test_equal_files_are_reason_to_build_nothing(ansible: Ansible, site: Site, tmp_path: Path) -> None:
    """With the build part the play writes the files that the bundle brought, finds them equal, and builds nothing."""
    before = stamps(site.root)
    first, again = (site.play(ansible, tmp_path / "web-1", packages=["click", "bottle"]) for _ in range(2))

    written = first.text.partition("TASK [Write what is asked for]")[2].partition("TASK")[0]
    assert (written.count("ok: "), written.count("changed: ")) == (3, 0)
    assert first.text.partition("TASK [Build into a directory of its own]")[2].lstrip(" *\n").startswith("skipping")
    assert again.changed == {"services": 0}
    assert stamps(site.root) == before


def test_repair_restores_what_a_failed_build_erased(ansible: Ansible, site: Site, tmp_path: Path) -> None:
    """Another list of packages makes the play build, fail and delete the four files; repair brings them back."""
    before = {path.name: path.read_bytes() for path in site.requirements.glob("web-1-*")}
    failed = site.play(ansible, tmp_path / "web-1", packages=["bottle", "not-in-the-release"], fails=True)
    lost = list(site.requirements.glob("web-1-*"))
    (answer,) = check(CheckRequest(places=site.places)).answers
    repair(RepairRequest(places=site.places)).require_success()

    assert "the wheels of web-1 could not be built" in failed.text
    assert (len(before), lost) == (4, [])
    assert sorted((one.kind, one.path.rpartition("/")[2]) for one in answer.get()) == [
        ("removed", name) for name in sorted(before)
    ]
    assert {path.name: path.read_bytes() for path in site.requirements.glob("web-1-*")} == before


@pytest.fixture(scope="module")
def openstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not OPENSTACK:
        pytest.skip(
            "BUNDLE_TEST_OPENSTACK names no bundle of OpenStack, beside the trust documents it was built with"
        )
    yield from _served(Path(OPENSTACK), tmp_path_factory.mktemp("openstack"))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["placement", "keystone"])
def test_services_of_openstack(ansible: Ansible, openstack: Site, tmp_path: Path, name: str) -> None:
    """A service's whole venv comes from the repo host, from the role's own list of packages; again: nothing."""
    (role,) = openstack.contents.openstack_ansible
    (venv,) = (one for one in role.venvs if one.name == name)
    packages = list(venv.requirements)
    first, again = (
        openstack.play(ansible, tmp_path / venv.basename, "--skip-tags", "build", packages=packages) for _ in range(2)
    )

    assert first.changed["services"] > 0
    assert again.changed == {"services": 0}
    path = tmp_path / venv.basename / "bin" / "python"
    checked = subprocess.run([path, "-m", "pip", "--isolated", "check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout

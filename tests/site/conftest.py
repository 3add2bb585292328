"""A site on disk, and its files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bundler.deploy.places import Places

SITE = """\
name: plant-7
repo_hosts:
  - name: repo1
    address: 10.0.0.11
  - name: repo2
    address: 10.0.0.12
    port: 2222
"""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(config=tmp_path / "config", state=tmp_path / "state")
    found.config.mkdir()
    found.site.write_text(SITE)
    return found


@pytest.fixture(scope="session")
def host_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = tmp_path_factory.mktemp("key") / "ssh_host_ed25519_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
    return key

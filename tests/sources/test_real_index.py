"""The real index, as pip is configured here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tomli

from bundler.clock import stopwatch
from bundler.events import ignore
from bundler.model.lock import Artifact
from bundler.sources.fetch import fetch_all
from bundler.sources.http import HttpClient
from bundler.sources.metadata import check_metadata, metadata_many
from bundler.store.cas import Store


@pytest.mark.network
def test_metadata_of_a_whole_service(store: Store, tmp_path: Path) -> None:
    """The metadata of a hundred wheels takes seconds, and equals what the wheels hold."""
    command = [
        str(Path(sys.executable).with_name("uv")),
        "pip",
        "compile",
        "-q",
        "--no-config",
        "--universal",
        "--python-version",
        "3.11",
        "-",
    ]
    lock = tmp_path / "pylock.x.toml"
    subprocess.run([*command, "-o", str(lock)], input=b"keystone\n", check=True)
    packages = tomli.loads(lock.read_text())["packages"]
    files = [package["wheels"][0] for package in packages if package.get("wheels")]
    artifacts = [
        Artifact(name=file["url"].rpartition("/")[2], url=file["url"], sha256=file["hashes"]["sha256"])
        for file in files
    ]
    began = stopwatch()

    with HttpClient() as client:
        found = metadata_many(artifacts, store, client)
        seconds = stopwatch() - began
        few = artifacts[:5]
        fetch_all(few, store, client, ignore)

    assert len(found) == len(artifacts) > 80
    assert seconds < 20
    assert [check_metadata(artifact, store) == found[artifact.sha256] for artifact in few] == [True] * 5

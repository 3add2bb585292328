"""The flat directory of wheels under a server that many sites have already: pypiserver, the real one."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.trees import BASE, RELEASE, put, release_files, release_links
from tests.serving.web import BIN, Site, free_port, installed, pip

pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Serve the wheels of a release as pypiserver does by itself: no fallback to an index."""
    here = tmp_path_factory.mktemp("pypiserver")
    put(here / "www", release_files(*RELEASE), release_links())
    subprocess.run([BIN / "uv", "venv", "-q", "--python", sys.executable, here / "venv"], check=True)
    python = here / "venv" / "bin" / "python"
    subprocess.run([BIN / "uv", "pip", "install", "-q", "--python", python, "pypiserver"], check=True)
    port = free_port()
    command = [str(python), "-m", "pypiserver", "run", "-i", "127.0.0.1", "-p", str(port), "--disable-fallback"]
    with (here / "log").open("wb") as log:
        server = subprocess.Popen([*command, str(here / "www" / BASE / "wheels")], stdout=log, stderr=log)
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield Site(port)
    finally:
        server.terminate()
        server.wait()


def test_pip_installs_from_pypiserver(site: Site, tmp_path: Path) -> None:
    """Lists and metadata beside the wheels do not disturb it: a project and what it needs are installed."""
    done = pip(tmp_path, "--index-url", f"{site.url}/simple/", "foo_bar")

    assert done.returncode == 0, done.stderr
    assert installed(tmp_path) == {"Foo.Bar-1.0", "base-1.5"}


def test_pypiserver_shows_wheels_alone(site: Site) -> None:
    """Of the directory it offers the two projects, each with its wheel, and nothing that is none."""
    projects = site.get("/simple/").body.decode()
    page = site.get("/simple/foo-bar/").body.decode()

    assert projects.count("<a href") == len(RELEASE)
    assert ".metadata" not in page.replace("data-dist-info-metadata", "")
    assert page.count(".whl<") == 1

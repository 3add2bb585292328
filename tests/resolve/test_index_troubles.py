"""Indexes that lie, are away, or lose files: one clear error each, and nothing of it is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bundler.resolve.uv_messages import unfetched

COMMAND = Path(sys.executable).parent / "bundle-build"
Lock = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path, index: Any) -> Lock:
    """Return how to lock by the command; ``url`` is the index's."""

    def lock(*packages: str, url: str = "") -> subprocess.CompletedProcess[str]:
        document = {
            "schema": 1,
            "seed_packages": [],
            "release": {"name": "test", "version": "1"},
            "targets": ["auto"],
            "default_packages": [],
            "indexes": [{"name": "local", "url": url or index.url}],
            "venvs": {"web": {"path": "/opt/web", "packages": list(packages)}},
        }
        path = tmp_path / "release.yaml"
        path.write_text(yaml.safe_dump(document))
        env = {**os.environ, "BUNDLE_STORE": str(tmp_path / "store"), "UV_HTTP_RETRIES": "0"}
        return subprocess.run([COMMAND, "lock", path], env=env, capture_output=True, text=True, check=False)

    return lock


def error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that says what is wrong."""
    assert "Traceback" not in done.stderr
    assert "hint: " in done.stderr
    (line,) = (one for one in done.stderr.splitlines() if one.startswith("error: "))
    return line


@pytest.mark.parametrize("static", [True, False])
def test_a_source_that_is_not_what_the_index_says(run: Lock, index: Any, tmp_path: Path, *, static: bool) -> None:
    """A source distribution with another digest than the index names is refused, and its backend is not asked."""
    path = index.sdist("app", "1.0", static=static)
    path.write_bytes(path.read_bytes() + b"\0")

    done = run("app")

    assert done.returncode == 31, done.stderr
    assert error(done).startswith("error: app==1.0 is not what the index names: expected sha256:")
    assert not (tmp_path / "release.lock").exists()
    assert list((tmp_path / "store").glob("blobs/*/*")) == []


def test_a_wheel_that_is_not_what_the_index_says(run: Lock, index: Any, tmp_path: Path) -> None:
    """A wheel with another digest than the index names is refused."""
    path = index.wheel("app", "1.0")
    path.write_bytes(path.read_bytes() + b"\0")

    done = run("app")

    assert done.returncode == 31, done.stderr
    assert "app-1.0-py3-none-any.whl" in error(done)
    assert list((tmp_path / "store").glob("blobs/*/*")) == []


def test_an_index_that_is_away(run: Lock) -> None:
    """An index that cannot be reached is named with the reason, in one line."""
    done = run("app", url="http://127.0.0.1:1/simple")

    assert done.returncode == 30, done.stderr
    assert error(done).startswith("error: http://127.0.0.1:1/simple/app/ cannot be read: ")
    assert "refused" in error(done)


def test_a_file_that_the_index_lost(run: Lock, index: Any) -> None:
    """A source distribution that the index lists and does not have is named."""
    index.sdist("app", "1.0").unlink()

    done = run("app")

    assert done.returncode == 30, done.stderr
    assert "app-1.0.tar.gz" in error(done)
    assert "404" in error(done)


def test_addresses_in_messages_have_no_passwords() -> None:
    """What uv could not fetch is told without the credentials in its address."""
    text = (
        "error: Request failed\n  cause: Failed to fetch: `https://me:word@index.example/simple/app/`\n  cause: away"
    )

    assert unfetched(text) == ("https://index.example/simple/app/", "away")
    assert unfetched("error: Request failed\n  cause: Failed to fetch: http://a.example/x") == (
        "http://a.example/x",
        "no reason is given",
    )
    assert unfetched("error: something else") is None

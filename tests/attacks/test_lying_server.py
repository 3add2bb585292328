"""A repo host whose files are right and whose web server hands out something else."""

from __future__ import annotations

import functools
import http.server
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from tests.bundles import DEBIAN, make_sample
from tests.deploy.scene import Scene, states

BIN = Path(sys.executable).parent / "bundle-install"
WHEEL = f"os-releases/2026.1/{DEBIAN}/wheels/pure-1.0+local-py3-none-any.whl"


class Liar(http.server.SimpleHTTPRequestHandler):
    """Serves one file with one byte changed: same name, same length."""

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Hand out the bytes, those of wheels changed."""
        data = cast("BinaryIO", source).read()
        if self.path.endswith("none-any.whl") and data:
            data = data[:-1] + bytes([data[-1] ^ 1])
        super().copyfile(io.BytesIO(data), outputfile)


@pytest.fixture
def url(scene: Scene) -> Iterator[str]:
    scene.root("a").mkdir(parents=True)
    handler = functools.partial(Liar, directory=str(scene.root("a")))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def check(scene: Scene, *words: str) -> subprocess.CompletedProcess[str]:
    places = ("--config-dir", scene.places.config, "--state-dir", scene.places.state)
    argv = [str(BIN), "check", "--json", *words, *map(str, places)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_a_host_that_serves_other_bytes_than_it_reports_is_seen(scene: Scene, url: str) -> None:
    """What the host says of its files is right; what clients get is not: `check --http` names it, exit status 85."""
    sample = make_sample(1)
    scene.site(scene.local("a", url=url))
    assert states(scene.apply(scene.bundle(1, sample))) == {"a": "activated"}

    honest, seen = check(scene), check(scene, "--http")

    assert honest.returncode == 0, honest.stderr
    assert seen.returncode == 85, seen.stdout + seen.stderr
    assert WHEEL in json.dumps(json.loads(seen.stdout))
    assert "keystone-29.0.0.tar.zst" not in seen.stdout

"""The manifests that come with the project, and a command line with a store of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

MANIFESTS = Path(__file__).resolve().parent.parent.parent / "manifests"


@dataclass(frozen=True)
class CommandLine:
    """`bundle-build` as somebody types it, whose store and locks are in a directory of the test's."""

    root: Path

    def run(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            [Path(sys.executable).parent / "bundle-build", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.root,
            env={**os.environ, "BUNDLE_STORE": str(self.root / "store")},
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def lock(self, manifest: Path) -> Path:
        """Lock the manifest, and return where."""
        path = self.root / f"{manifest.stem}.lock"
        self.run("lock", manifest, "--lock-dir", path)
        return path


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)

"""Run the real command line, as a process of its own, for a user who has nothing yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
MANIFEST = """\
schema: 1
release: {name: tiny, version: "1.0"}
targets: [debian-12-x86_64]
default_packages: []
seed_packages: []
venvs:
  one:
    path: /opt/one
    packages: [one]
"""


@dataclass(frozen=True)
class User:
    """A user's home: configuration, store, a manifest."""

    home: Path

    @property
    def config_file(self) -> Path:
        return self.home / "config" / "bundle-build" / "config.yaml"

    def configure(self, text: str) -> None:
        self.config_file.parent.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(text)

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BUNDLE_")}
        own = {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "BUNDLE_STORE": str(self.home / "store"),
            "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
        }
        return {**kept, **own, **(more or {})}

    def run(
        self, *arguments: str, status: int = 0, env: Mapping[str, str] | None = None, program: str = "bundle-build"
    ) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / program), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.home, env=self.env(env), timeout=60
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, env: Mapping[str, str] | None = None) -> Any:
        return json.loads(self.run(*arguments, "--json", env=env).stdout)

    def settings(self, *arguments: str, env: Mapping[str, str] | None = None) -> dict[tuple[str, str], Any]:
        """Return (value, origin) by command and option, as `config` tells them."""
        found = self.json("config", *arguments, env=env)["settings"]
        return {(one["command"], one["option"]): (one["value"], one["origin"]) for one in found}


@pytest.fixture
def user(tmp_path: Path) -> User:
    (tmp_path / "tiny.yaml").write_text(MANIFEST)
    return User(tmp_path)

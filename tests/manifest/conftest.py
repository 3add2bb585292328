"""Loading manifests from texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.errors import ManifestError
from bundler.model.manifest_load import LoadedManifest, load_manifest

Load = Callable[..., LoadedManifest]
Problems = Callable[..., list[str]]


def load_texts(main: str | bytes, **others: str) -> LoadedManifest:
    """Load ``main`` as m.yaml beside files called ``<name>.yaml``."""
    files = {Path("m.yaml"): main if isinstance(main, bytes) else main.encode()}
    files |= {Path(f"{name}.yaml"): text.encode() for name, text in others.items()}

    def read(path: Path) -> bytes:
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return files[path]

    return load_manifest(Path("m.yaml"), read)


@pytest.fixture
def load() -> Load:
    return load_texts


@pytest.fixture
def problems() -> Problems:
    def collect(main: str | bytes, **others: str) -> list[str]:
        with pytest.raises(ManifestError) as caught:
            load_texts(main, **others)
        return [str(problem) for problem in caught.value.problems]

    return collect


@pytest.fixture
def wrong(problems: Problems) -> Callable[[str], list[str]]:
    """Problems of a manifest that is right but for the lines that are added below its venv ``a``."""

    def collect(lines: str) -> list[str]:
        return problems(HEAD + lines)

    return collect


HEAD = """\
schema: 1
release: {name: r, version: "1"}
targets: [debian-12-x86_64]
venvs:
  a:
    path: /v/a-1
    packages: [x]
"""

"""Build environments to try, and wheels and commands to try them with."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import Podman, make_build_root, make_podman


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    path = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "shared-buildenv"
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture(scope="session")
def build_root(shared: Path) -> Path:
    """Give the root file system of a Debian with a compiler."""
    return make_build_root(shared)


@pytest.fixture(scope="module")
def podman(shared: Path) -> Iterator[Podman]:
    """Give podman with an image that has a compiler, first on PATH."""
    made = make_podman(shared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", made.path)
        yield made


@pytest.fixture
def tool_wheel(tmp_path: Path) -> Path:
    """Give a wheel with a module and a console script."""
    path = tmp_path / "tool-1.0-py3-none-any.whl"
    files = {
        "tool.py": "def main():\n    print('tool works')\n",
        "tool-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n",
        "tool-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tool-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = tool:main\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, "tool-1.0.dist-info/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, "tool-1.0.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    return path

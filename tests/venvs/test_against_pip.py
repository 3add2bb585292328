"""Real wheels: the same files that pip installs, in a venv that works."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.model.target import Python

if TYPE_CHECKING:
    from tests.venvs.conftest import Bench

pytestmark = [pytest.mark.network, pytest.mark.slow]
#: Headers, data files, namespace packages, .pth, binaries as scripts, console scripts, compiled modules.
REAL = [
    "greenlet",
    "oslo.config",
    "oslo.i18n",
    "setuptools<80",
    "uv",
    "python-memcached",
    "zope.interface",
    "PyYAML",
    "pytz",
]
OURS = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")


def _files(venv: Path, python: Python) -> dict[str, bytes]:
    """Return path → content of what is installed, but for scripts, bytecode and the installer's own notes."""
    found = {}
    for path in venv.rglob("*"):
        name = path.relative_to(venv).as_posix().replace(f"python{python.version}", "py")
        ignored = name.startswith("bin/") or path.suffix == ".pyc" or path.name in (*OURS, "pyvenv.cfg")
        if path.is_file() and not path.is_symlink() and not ignored:
            found[name] = path.read_bytes()
    return found


def _scripts(venv: Path) -> set[str]:
    """Return the names in ``bin``, but for the venv's own, pip's (which adds one per Python) and hidden originals."""
    own = ("activate", "deactivate", "python", "pip", ".")
    return {path.name for path in (venv / "bin").iterdir() if not path.name.startswith(own)}


def test_real_packages_are_installed_as_pip_does(
    bench: Bench, python: Python, tmp_path: Path, call: Callable[..., str]
) -> None:
    """Same files with the same bytes, same scripts; the venv passes pip check and its programs run."""
    wheels = tmp_path / "downloaded"
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    choice = ["--only-binary", ":all:", "--python-version", python.version]
    download = [*pip, "download", "-d", str(wheels), *choice, *REAL, "pip"]
    subprocess.run(download, check=True, capture_output=True)
    files = sorted(wheels.iterdir())
    ours = bench.unpacked(tmp_path / "ours", *(bench.stored(path) for path in files))

    reference = tmp_path / "reference"
    virtualenv = [sys.executable, "-m", "virtualenv", "-q", "--no-seed", "-p", python.executable, str(reference)]
    subprocess.run(virtualenv, check=True, capture_output=True)
    install = [*pip, "--python", str(reference / "bin/python"), "install", "--no-deps", "--no-index"]
    subprocess.run([*install, *map(str, files)], check=True, capture_output=True)

    expected = _files(reference, python)
    found = _files(ours, python)
    assert sorted(found) == sorted(set(expected) - {".gitignore", "CACHEDIR.TAG"})
    assert {path for path in found if found[path] != expected[path]} == set()
    assert _scripts(ours) == _scripts(reference)
    assert call(ours / "bin/python", "-m", "pip", "check") == "No broken requirements found.\n"
    assert call(ours / "bin/uv", "--version").startswith("uv ")
    assert "usage" in call(ours / "bin/oslo-config-generator", "--help")

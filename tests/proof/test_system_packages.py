"""Links to what distribution packages bring."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bundler.errors import ToolMissing, VenvError
from bundler.model.target import Python
from bundler.venvs.system_packages import SITE, find_system_packages, links_of, list_files, modules_of

PYTHON = Python(full_version="3.11.2", executable="/usr/bin/python3.11")
DIST = "/usr/lib/python3/dist-packages"


def linked(*files: str, site: str = DIST) -> list[str]:
    links = links_of([site, *(f"{site}/{file}" for file in files)], PYTHON)
    assert all(goal == f"{site}/{path.removeprefix(str(SITE))[1:]}" for path, goal in links.items())
    return sorted(path.removeprefix(f"{SITE}/") for path in links)


def test_a_regular_package_is_one_link() -> None:
    """A directory with an __init__.py and metadata are linked whole, single modules singly."""
    files = ("yaml", "yaml/__init__.py", "yaml/sub", "yaml/sub/__init__.py", "yaml/a.txt", "six.py")
    metadata = ("PyYAML-6.0.dist-info", "PyYAML-6.0.dist-info/METADATA", "six-1.16.0.egg-info")

    assert linked(*files, *metadata) == ["PyYAML-6.0.dist-info", "six-1.16.0.egg-info", "six.py", "yaml"]


def test_a_namespace_package_is_not_linked_whole() -> None:
    """A directory that other packages share is made, and only what the package owns inside is linked."""
    assert linked("lazr", "lazr/uri", "lazr/uri/__init__.py", "lazr/uri/_uri.py") == ["lazr/uri"]
    assert linked("lazr/uri/__init__.py", "lazr/one.py") == ["lazr/one.py", "lazr/uri"]


def test_extension_modules_of_another_python_are_left_out() -> None:
    """Only modules for the venv's Python, or for any, are linked; bytecode is not."""
    files = ("m.cpython-311-x86_64-linux-gnu.so", "m.cpython-312-x86_64-linux-gnu.so", "n.abi3.so", "o.so")

    assert linked(*files, "__pycache__", "__pycache__/six.cpython-311.pyc") == [files[0], "n.abi3.so", "o.so"]


def test_directories_of_other_pythons_are_not_looked_at() -> None:
    """Files outside the Python's own directories, also of another version, are left out."""
    assert linked("a.py", site="/usr/lib64/python3.11/site-packages") == ["a.py"]
    assert linked("a.py", site="/usr/lib/python3.12/dist-packages") == []
    assert linked("a.py", site="/usr/share/doc") == []


def test_names_to_import_are_public_where_there_are_any() -> None:
    """Metadata and data give no names; a package with private modules only is imported by those."""
    paths = [f"{SITE}/{name}" for name in ("yaml", "_yaml", "PyYAML-6.0.dist-info", "x.txt", "lazr/uri", "m.abi3.so")]

    assert modules_of(paths) == ["yaml", "lazr.uri", "m"]
    assert modules_of([f"{SITE}/_cffi.cpython-311-x86_64-linux-gnu.so"]) == ["_cffi"]


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="asks dpkg")
def test_packages_that_cannot_be_linked_are_all_named() -> None:
    """What is not installed and what has no module is reported together."""
    with pytest.raises(VenvError) as caught:
        find_system_packages(["no-such-package", "base-files"], PYTHON)

    whats = [problem.what for problem in caught.value.problems]
    assert whats == ["no-such-package is not installed", "base-files has no module for Python 3.11"]


def test_files_are_those_of_the_root_that_is_named(tmp_path: Path) -> None:
    """The record of another root counts there, and this host's does not; a removed package is not installed."""
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info / "python3-x:arm64.list").write_text(f"/.\n{DIST}/x.cpython-311-aarch64-linux-gnu.so\n")
    entry = "Package: {}\nStatus: {} ok {}\nArchitecture: arm64\nVersion: 1\n\n"
    both = entry.format("python3-x", "install", "installed") + entry.format("gone", "deinstall", "config-files")
    (info.parent / "status").write_text(both)

    found = find_system_packages(["python3-x"], PYTHON, tmp_path)
    assert found.modules == ("x",)
    assert [list_files(name, tmp_path) for name in ("gone", "base-files")] == [None, None]
    with pytest.raises(VenvError) as caught:
        find_system_packages(["gone"], PYTHON, tmp_path)
    assert str(caught.value.problems[0]).startswith(
        "system_packages: gone is not installed in the target's root file system ("
    )


def test_a_root_without_dpkg_is_asked_by_rpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There rpm reads the database; a status that is not 0 means not installed, no rpm is an error."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(ToolMissing, match="rpm is not installed"):
        list_files("python3-x", tmp_path)

    rpm = tools / "rpm"
    rpm.write_text(
        f'#!/bin/sh\n[ "$*" = "--root={tmp_path} --dbpath=/var/lib/rpm -ql python3-x" ] && echo {DIST}/x.py\n'
    )
    rpm.chmod(0o755)
    assert list_files("python3-x", tmp_path) == [f"{DIST}/x.py"]
    assert list_files("python3-y", tmp_path) is None

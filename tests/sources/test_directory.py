"""Local source trees and folders of wheels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.errors import DigestMismatch, FetchFailed
from bundler.model.lock import DirectorySource
from bundler.sources.directory import copy_directory, digest_directory
from bundler.sources.folders import wheels_in
from bundler.store.cas import Store

if TYPE_CHECKING:
    from tests.sources.conftest import Wheels


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    (made / "src" / "pkg" / "build").mkdir(parents=True)
    (made / "pyproject.toml").write_text("[project]\n")
    (made / "src" / "pkg" / "__init__.py").write_text("x = 1\n")
    (made / "src" / "pkg" / "build" / "part.py").write_text("y = 1\n")
    (made / "run.sh").write_text("#!/bin/sh\n")
    (made / "run.sh").chmod(0o755)
    (made / "link").symlink_to("pyproject.toml")
    return made


def _write(path: Path, text: str = "z\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda tree: _write(tree / "pyproject.toml"),
    "new file": lambda tree: _write(tree / "new"),
    "name": lambda tree: (tree / "run.sh").rename(tree / "go.sh"),
    "mode": lambda tree: (tree / "run.sh").chmod(0o644),
    "link": lambda tree: _relink(tree / "link", "run.sh"),
    "kind": lambda tree: (tree / "run.sh").replace(tree / "link"),
    "package called build": lambda tree: _write(tree / "src" / "pkg" / "build" / "part.py"),
}
NOISE: dict[str, Callable[[Path], object]] = {
    "git": lambda tree: _write(tree / ".git" / "HEAD"),
    "bytecode": lambda tree: _write(tree / "src" / "pkg" / "__pycache__" / "a.pyc"),
    "build": lambda tree: _write(tree / "build" / "lib" / "a.py"),
    "egg-info": lambda tree: _write(tree / "src" / "pkg.egg-info" / "PKG-INFO"),
    "venv": lambda tree: _write(tree / ".venv" / "pyvenv.cfg"),
    "time": lambda tree: os.utime(tree / "run.sh", (1, 1)),
    "umask": lambda tree: (tree / "pyproject.toml").chmod(0o600),
    "empty directory": lambda tree: (tree / "empty").mkdir(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_change_the_digest(tree: Path, change: Callable[[Path], object]) -> None:
    """Every change that a build could see gives another digest."""
    before = digest_directory(tree)

    change(tree)

    assert digest_directory(tree) != before


@pytest.mark.parametrize("change", NOISE.values(), ids=NOISE)
def test_noise_does_not(tree: Path, change: Callable[[Path], object]) -> None:
    """Leftovers of earlier builds, times and the umask do not count."""
    before = digest_directory(tree)

    change(tree)

    assert digest_directory(tree) == before


def test_a_copy_is_the_tree(tree: Path, tmp_path: Path) -> None:
    """The copy has the same digest, plain modes and one time, and none of the noise."""
    for change in NOISE.values():
        change(tree)
    source = DirectorySource(path="project", sha256=digest_directory(tree))

    copy_directory(source, tmp_path, tmp_path / "copy")

    copied = sorted(str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*"))
    assert copied == [
        "link",
        "pyproject.toml",
        "run.sh",
        "src",
        "src/pkg",
        "src/pkg/__init__.py",
        "src/pkg/build",
        "src/pkg/build/part.py",
    ]
    assert {int(path.lstat().st_mtime) for path in (tmp_path / "copy").rglob("*")} == {315532800}
    assert (tmp_path / "copy" / "pyproject.toml").stat().st_mode & 0o777 == 0o644


def test_a_changed_tree_is_not_copied(tree: Path, tmp_path: Path) -> None:
    """A tree that is not as locked is refused, and no copy is left."""
    source = DirectorySource(path="project", sha256=digest_directory(tree))
    _write(tree / "new")

    with pytest.raises(DigestMismatch, match="changed since it was locked"):
        copy_directory(source, tmp_path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_what_cannot_be_taken_is_all_reported(tree: Path) -> None:
    """Links that lead out and special files are refused together."""
    (tree / "out").symlink_to("../../secret")
    (tree / "absolute").symlink_to(tree / "run.sh")
    os.mkfifo(tree / "pipe")

    with pytest.raises(FetchFailed) as caught:
        digest_directory(tree)
    assert {problem.where for problem in caught.value.problems} == {"out", "absolute", "pipe"}


def test_a_missing_tree(tmp_path: Path) -> None:
    """A path that is no directory is named."""
    with pytest.raises(FetchFailed, match="is no directory"):
        digest_directory(tmp_path / "none")


def test_wheels_of_folders(wheels: Wheels, store: Store, tmp_path: Path) -> None:
    """Wheels are found by normalised project, in the order of the folders, with digest and size."""
    names = {"one": "My_Pkg-1.0-py3-none-any.whl", "two": "my_pkg-2.0-py3-none-any.whl"}
    for folder, name in names.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(wheels.make(folder))
        (tmp_path / folder / "README.txt").write_text("no wheel")

    found = wheels_in([tmp_path / "two", tmp_path / "one"], store)

    assert list(found) == ["my-pkg"]
    assert [artifact.name for artifact in found["my-pkg"]] == [names["two"], names["one"]]
    last = found["my-pkg"][1]
    assert last.sha256 == hashlib.sha256(wheels.make("one")).hexdigest()
    assert last.size == len(wheels.make("one"))
    assert last.url == (tmp_path / "one" / names["one"]).as_uri()


def test_a_changed_wheel_is_noticed(wheels: Wheels, store: Store, tmp_path: Path) -> None:
    """The remembered digest is not used for other bytes of the same name."""
    path = tmp_path / "a-1.0-py3-none-any.whl"
    path.write_bytes(wheels.make("a"))
    before = wheels_in([tmp_path], store)
    path.write_bytes(wheels.make("a", padding=10))

    after = wheels_in([tmp_path], store)

    assert before["a"][0].sha256 != after["a"][0].sha256


def test_bad_folders_are_all_reported(tmp_path: Path) -> None:
    """Missing folders and files that only look like wheels are told together."""
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "oops.whl").touch()

    with pytest.raises(FetchFailed) as caught:
        wheels_in([tmp_path / "w", tmp_path / "none"])
    assert len(caught.value.problems) == 2

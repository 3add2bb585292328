"""What changed between two locks."""

from __future__ import annotations

from bundler.model.lock import Artifact, GitSource, Lock, LockedPackage, VenvLock
from bundler.model.lock_diff import diff_locks


def package(name: str, version: str, digest: str = "0", commit: str = "") -> LockedPackage:
    if commit:
        git = GitSource(url="https://git.example/a", commit=commit * 40)
        return LockedPackage(name=name, version=version, kind="git", origin=git)
    file = Artifact(name=f"{name}.whl", url=f"https://index.example/{name}.whl", sha256=digest * 64)
    return LockedPackage(name=name, version=version, kind="wheel", origin=file)


def lock(sequence: int, **venvs: list[LockedPackage]) -> Lock:
    return Lock(
        name="a", version="1", sequence=sequence, created=0, inputs="", resolver="uv 1", targets=("t",),
        venvs=tuple(VenvLock(venv=name, target="t", packages=tuple(found)) for name, found in venvs.items()),
    )  # fmt: skip


def test_packages_are_added_removed_and_changed() -> None:
    """Each change of a venv stands once, by name, with what was and what is."""
    old = lock(1, web=[package("a", "1"), package("b", "1"), package("same", "1")], still=[package("x", "1")])
    new = lock(2, web=[package("b", "2"), package("c", "1"), package("same", "1")], still=[package("x", "1")])

    found = diff_locks(old, new)

    assert (found.old_sequence, found.new_sequence) == (1, 2)
    (venv,) = found.venvs
    assert [(one.change, one.name, one.old, one.new) for one in venv.changes] == [
        ("removed", "a", "1", ""),
        ("changed", "b", "1", "2"),
        ("added", "c", "", "1"),
    ]


def test_another_file_of_the_same_version_is_a_change() -> None:
    """A file that was replaced, or another commit, shows although the version did not change."""
    old = lock(1, web=[package("a", "1", "1"), package("g", "1", commit="a")])
    new = lock(1, web=[package("a", "1", "2"), package("g", "1", commit="b")])

    (venv,) = diff_locks(old, new).venvs

    assert [(one.old, one.new) for one in venv.changes] == [
        ("1 (a.whl 111111111111)", "1 (a.whl 222222222222)"),
        ("1 (git aaaaaaaaaaaa)", "1 (git bbbbbbbbbbbb)"),
    ]


def test_a_whole_venv_comes_or_goes() -> None:
    """Venvs that only one lock has are shown with all their packages."""
    found = diff_locks(lock(1, gone=[package("a", "1")]), lock(2, new=[package("a", "1")]))

    assert [(venv.venv, venv.changes[0].change) for venv in found.venvs] == [("gone", "removed"), ("new", "added")]


def test_changes_are_plain_data() -> None:
    """The changes can be written as JSON."""
    data = diff_locks(lock(1), lock(2, web=[package("a", "1")])).to_data()

    assert data["venvs"][0]["changes"][0] == {"change": "added", "name": "a", "old": "", "new": "1"}

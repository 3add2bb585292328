"""Which file a target takes, and the matrix of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.errors import ResolutionFailed
from bundler.model.lock import Artifact, DirectorySource, GitSource, LockedPackage
from bundler.model.target import known_target
from bundler.resolve.choose import Impossible, choose
from bundler.resolve.coverage import coverage, table
from bundler.resolve.port import Resolved

HERE = known_target("debian-12-x86_64")
ARM = known_target("debian-13-aarch64")


def file(name: str) -> Artifact:
    return Artifact(name=name, url=f"https://index.example/{name}", sha256="1" * 64)


def chosen(*names: str, sdist: str = "") -> str:
    wheels = tuple(file(name) for name in names)
    found = choose(Resolved(name="a", version="1", wheels=wheels, sdist=file(sdist) if sdist else None), HERE)
    if isinstance(found, Impossible):
        return found.reason
    assert isinstance(found.origin, Artifact)
    return found.origin.name


def test_the_most_specific_wheel_wins() -> None:
    """A wheel for the target's Python comes before abi3, that before a pure one, newest glibc first."""
    names = [
        "a-1-py3-none-any.whl",
        "a-1-cp39-abi3-manylinux_2_17_x86_64.whl",
        "a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "a-1-cp311-cp311-manylinux_2_28_x86_64.whl",
        "a-1-cp311-cp311-manylinux_2_40_x86_64.whl",
        "a-1-cp312-cp312-manylinux_2_17_x86_64.whl",
        "a-1-cp311-cp311-musllinux_1_2_x86_64.whl",
    ]

    assert chosen(*names) == names[3]
    assert chosen(*names[:3]) == names[2]
    assert chosen(*names[:2]) == names[1]
    assert chosen(names[0], names[5]) == names[0]


def test_the_highest_build_tag_decides_a_tie() -> None:
    """Of two wheels with the same tags the one with the higher build tag is taken, compared as a number."""
    assert chosen("a-1-py3-none-any.whl", "a-1-2-py3-none-any.whl", "a-1-10-py3-none-any.whl") == (
        "a-1-10-py3-none-any.whl"
    )


def test_the_order_of_the_index_does_not_matter() -> None:
    """The choice depends on the names only."""
    names = ("a-1-py3-none-any.whl", "a-1-py2.py3-none-any.whl")

    assert chosen(*names) == chosen(*reversed(names))


def test_without_a_wheel_the_sdist_is_taken() -> None:
    """A wheel for another system is no wheel."""
    assert chosen("a-1-cp311-cp311-win_amd64.whl", sdist="a-1.tar.gz") == "a-1.tar.gz"


def test_without_any_file_it_is_impossible() -> None:
    """The reason says what there is instead."""
    assert "none for this target" in chosen("a-1-cp312-cp312-win_amd64.whl")
    assert "sha256" in chosen()


def test_sources_are_taken_as_they_are() -> None:
    """Git commits and directories have no choice of files."""
    git = GitSource(url="https://git.example/a", commit="a" * 40)
    found = choose(Resolved(name="a", version="1", git=git), HERE)
    tree = choose(Resolved(name="a", version="", directory=Path("/srv/a")), HERE)

    assert found == LockedPackage(name="a", version="1", kind="git", origin=git)
    assert isinstance(tree, LockedPackage)
    assert tree.origin == DirectorySource(path="/srv/a", sha256="")


def test_the_matrix_shows_what_is_open() -> None:
    """Rows of the table are the packages that are not wheels everywhere; the last line counts."""
    native = Resolved(name="n", version="2", wheels=(file("n-2-cp311-cp311-linux_x86_64.whl"),))
    pure = Resolved(name="p", version="1", wheels=(file("p-1-py3-none-any.whl"),))
    old = Resolved(name="o", version="3", sdist=file("o-3.tar.gz"))
    cells = [(target.name, choose(one, target)) for one in (pure, old, native) for target in (HERE, ARM)]

    matrix = coverage(cells, [HERE.name, ARM.name])

    columns, rows = table(matrix)
    assert columns == ["package", "version", HERE.name, ARM.name]
    assert rows == [
        ["n", "2", "wheel", "IMPOSSIBLE"],
        ["o", "3", "must compile", "must compile"],
        ["3 packages", "", "2 wheels", "1 wheels"],
    ]


def test_all_impossible_packages_are_reported_together() -> None:
    """The error has one problem for each package and target."""
    cells = [
        (target.name, Impossible(name=name, version="1", reason="none")) for name in "ab" for target in (HERE, ARM)
    ]

    with pytest.raises(ResolutionFailed) as caught:
        coverage(cells, [HERE.name, ARM.name]).require()

    assert len(caught.value.problems) == 4

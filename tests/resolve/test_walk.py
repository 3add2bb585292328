"""The subset walk: markers, extras, what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from bundler.errors import MetadataError, ResolutionFailed
from bundler.model.lock import Artifact, LockedPackage
from bundler.model.target import Target, known_target
from bundler.resolve.walk import CoreMeta, Walker, parse_core_metadata

HERE = known_target("debian-12-x86_64")


def locked(name: str, version: str = "1.0") -> LockedPackage:
    origin = Artifact(name=f"{name}.whl", url=f"https://index.example/{name}.whl", sha256="0" * 64)
    return LockedPackage(name=name, version=version, kind="wheel", origin=origin)


def walk(
    roots: Sequence[str], requires: Mapping[str, Sequence[str]], target: Target = HERE, python: str = ""
) -> dict[str, LockedPackage]:
    metas = {
        name: CoreMeta(version="1.0", requires_dist=tuple(lines), requires_python=python)
        for name, lines in requires.items()
    }
    walker = Walker(target, {name: locked(name) for name in requires}, lambda package: metas[package.name])
    return {one.name: one for one in walker.walk(map(Requirement, roots))}


def test_only_what_the_roots_need_is_taken() -> None:
    """Packages of the resolution that no root leads to are left out."""
    found = walk(["a"], {"a": ["B.c>=1"], "b-c": [], "d": []})

    assert list(found) == ["a", "b-c"]
    assert found["a"].requested
    assert not found["b-c"].requested
    assert found["a"].dependencies == ("b-c",)


def test_markers_are_those_of_the_target() -> None:
    """The same metadata gives other subsets on other targets."""
    requires = {"a": ["x ; python_version >= '3.13'", "y ; platform_machine == 'x86_64'"], "x": [], "y": []}

    assert set(walk(["a"], requires)) == {"a", "y"}
    assert set(walk(["a"], requires, known_target("debian-13-aarch64"))) == {"a", "x"}


def test_extras_add_what_stands_under_them() -> None:
    """Requirements under an extra are followed where it is asked for, also later and through another package."""
    requires = {
        "a": ["x ; extra == 'One_Two'", "always"],
        "b": ["A[one.two]"],
        "x": [],
        "always": [],
    }

    assert set(walk(["a"], requires)) == {"a", "always"}
    assert set(walk(["a", "b"], requires)) == {"a", "always", "b", "x"}


def test_an_extra_may_name_other_extras_of_its_package() -> None:
    """A package that asks for itself with further extras gets these, and does not depend on itself."""
    requires = {"a": ["a[one,two] ; extra == 'all'", "x ; extra == 'one'", "y ; extra == 'two'"], "x": [], "y": []}

    found = walk(["a[all]"], requires)

    assert set(found) == {"a", "x", "y"}
    assert found["a"].dependencies == ("x", "y")


def test_circles_end() -> None:
    """Packages that need each other are each taken once."""
    found = walk(["a"], {"a": ["b"], "b": ["a", "b"]})

    assert set(found) == {"a", "b"}


def test_all_that_does_not_fit_is_named() -> None:
    """Something unresolved, a version outside the specifier: both are in one error, with who wants it."""
    with pytest.raises(ResolutionFailed) as caught:
        walk(["a"], {"a": ["gone", "b>=2"], "b": []})

    text = "\n".join(map(str, caught.value.problems))
    assert "a: wants gone" in text
    assert "a: wants b>=2" in text


def test_a_python_that_is_too_old_is_named() -> None:
    """A package that needs another Python than the target's is an error."""
    with pytest.raises(ResolutionFailed) as caught:
        walk(["a"], {"a": []}, python=">=3.12")

    assert "3.11" in str(caught.value.problems[0])


def test_prereleases_that_were_resolved_are_accepted() -> None:
    """The resolver decides on prereleases; the walk does not object."""
    meta = CoreMeta(version="2.0rc1")
    walker = Walker(HERE, {"a": locked("a", "2.0rc1")}, lambda _: meta)

    assert [one.version for one in walker.walk([Requirement("a>=1")])] == ["2.0rc1"]


def test_metadata_is_read_up_to_the_description() -> None:
    """Lines of the description are no fields."""
    data = b"Metadata-Version: 2.1\r\nName: a\r\nVersion: 1\r\nRequires-Dist: b\r\n\r\nRequires-Dist: not me\r\n"

    meta = parse_core_metadata(data, "a 1")

    assert meta.requires_dist == ("b",)


@pytest.mark.parametrize("line", ["Requires-Dist: b (~> 1)", "Requires-Python: whatever"])
def test_metadata_that_does_not_parse_is_an_error_of_its_package(line: str) -> None:
    """A bad line names the package that has it."""
    with pytest.raises(MetadataError, match="a 1"):
        parse_core_metadata(f"Metadata-Version: 2.1\nName: a\nVersion: 1\n{line}\n".encode(), "a 1")


def test_metadata_without_a_version_is_an_error() -> None:
    """Core metadata must say which version it is of."""
    with pytest.raises(MetadataError, match="no version"):
        parse_core_metadata(b"Metadata-Version: 2.1\nName: a\n", "a")


@given(
    st.dictionaries(
        st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=4), min_size=8, max_size=8
    ),
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3),
)
def test_a_walk_is_closed_and_minimal(requires: dict[str, list[str]], roots: list[str]) -> None:
    """Every dependency of what is taken is taken, and everything taken is reached from a root."""
    found = walk(roots, requires)

    reached, todo = set(), list(roots)
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += requires[name]
    assert set(found) == reached
    assert all(set(one.dependencies) <= reached for one in found.values())

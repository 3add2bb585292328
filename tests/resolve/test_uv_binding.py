"""Packages bound to one index never come from another, and a namesake elsewhere is never built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bundler.errors import FetchFailed, IndexMismatch, ResolutionFailed
from bundler.model.index import IndexConfig, IndexSpec
from bundler.model.target import Target
from bundler.resolve.port import Resolved, ResolveRequest
from bundler.resolve.uv import UvResolver, read_indexes, refuse_strangers


def resolve(target: Target, config: IndexConfig, *requirements: str) -> dict[str, Resolved]:
    request = ResolveRequest(requirements=requirements, targets=(target,), indexes=config)
    return {one.name: one for one in UvResolver().resolve(request).packages}


@pytest.fixture
def public(indexes: Any) -> Any:
    return indexes.make("public")


@pytest.fixture
def private(indexes: Any) -> Any:
    return indexes.make("ours")


@pytest.fixture
def bound(public: Any, private: Any) -> IndexConfig:
    return IndexConfig(indexes=(public.spec(), private.spec("secret")))


def test_a_bound_requirement_comes_from_its_index(
    bound: IndexConfig, public: Any, private: Any, bookworm: Target
) -> None:
    """A newer namesake on the public index is not taken."""
    public.wheel("secret", "9.0")
    private.wheel("secret", "1.0")

    found = resolve(bookworm, bound, "secret")

    assert found["secret"].version == "1.0"


def test_a_bound_dependency_comes_from_its_index_too(
    bound: IndexConfig, public: Any, private: Any, bookworm: Target
) -> None:
    """A package that only a dependency asks for is bound like one that the venv names."""
    public.wheel("app", "1.0", ["secret"])
    public.wheel("secret", "9.0")
    private.wheel("secret", "1.0", ["lib<2"])
    public.wheel("lib", "1.0")
    public.wheel("lib", "2.0")

    found = resolve(bookworm, bound, "app")

    assert {name: one.version for name, one in found.items()} == {"app": "1.0", "secret": "1.0", "lib": "1.0"}


def test_a_bound_dependency_may_be_unknown_elsewhere(
    bound: IndexConfig, public: Any, private: Any, bookworm: Target
) -> None:
    """A bound package that no other index has is found behind a dependency."""
    public.wheel("app", "1.0", ["secret"])
    private.wheel("secret", "1.0")

    assert resolve(bookworm, bound, "app")["secret"].version == "1.0"


def test_a_bound_package_that_its_index_lacks_fails(
    bound: IndexConfig, public: Any, private: Any, bookworm: Target
) -> None:
    """The namesake does not step in where the bound index has no such package."""
    public.wheel("secret", "9.0")
    private.wheel("other", "1.0")

    with pytest.raises(ResolutionFailed, match="secret") as caught:
        resolve(bookworm, bound, "secret")
    assert "secret is not in the index ours, to which it is bound" in map(str, caught.value.problems)


def test_a_bound_index_that_wants_credentials_is_named(public: Any, indexes: Any, bookworm: Target) -> None:
    """Without credentials it is the index that fails, not the package that is called missing."""
    private = indexes.make("ours", private=True)
    private.wheel("secret", "1.0")

    with pytest.raises(FetchFailed) as caught:
        resolve(bookworm, IndexConfig(indexes=(public.spec(), private.spec("secret"))), "secret")

    assert [str(problem) for problem in caught.value.problems] == [f"index ours: {private.url}: 401 Unauthorized"]


@pytest.mark.slow
def test_a_namesakes_source_is_never_run(
    bound: IndexConfig, public: Any, private: Any, bookworm: Target, tmp_path: Path
) -> None:
    """A source distribution of a namesake is not built, not even to look at its metadata."""
    mark = tmp_path / "ran"
    public.wheel("app", "1.0", ["secret"])
    public.sdist("secret", "9.0", mark=str(mark))
    private.wheel("secret", "1.0")

    found = resolve(bookworm, bound, "app")

    assert found["secret"].version == "1.0"
    assert not mark.exists()


def test_other_packages_do_not_come_from_a_bound_index(
    bound: IndexConfig, public: Any, private: Any, bookworm: Target
) -> None:
    """An index with bound packages serves these only."""
    public.wheel("lib", "1.0")
    private.wheel("lib", "9.0")

    assert resolve(bookworm, bound, "lib")["lib"].version == "1.0"


def test_of_two_indexes_the_first_that_has_a_package_wins(public: Any, private: Any, bookworm: Target) -> None:
    """Indexes without bound packages are asked in their order; versions are not mixed."""
    public.wheel("lib", "1.0")
    private.wheel("lib", "9.0")
    private.wheel("only", "1.0")
    config = IndexConfig(indexes=(public.spec(), private.spec()))

    found = resolve(bookworm, config, "lib", "only")

    assert {name: one.version for name, one in found.items()} == {"lib": "1.0", "only": "1.0"}


def test_without_a_free_index_nothing_else_is_asked(private: Any, bookworm: Target) -> None:
    """Where every index is bound, a package that is bound to none is in no index."""
    private.wheel("secret", "1.0")
    config = IndexConfig(indexes=(private.spec("secret"),))

    assert resolve(bookworm, config, "secret")["secret"].version == "1.0"
    with pytest.raises(ResolutionFailed, match="iniconfig"):
        resolve(bookworm, config, "iniconfig")


def test_a_bound_package_is_not_taken_from_a_wheel_folder(
    bound: IndexConfig, private: Any, indexes: Any, bookworm: Target, tmp_path: Path
) -> None:
    """A newer namesake in a wheel folder does not stand in for the package of the bound index."""
    private.wheel("secret", "1.0")
    path = indexes.make("aside").wheel("secret", "9.0")
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / path.name).write_bytes(path.read_bytes())
    config = IndexConfig(indexes=bound.indexes, folders=(folder,))

    assert resolve(bookworm, config, "secret")["secret"].version == "1.0"


def test_a_stranger_is_refused_with_both_places() -> None:
    """The check names the package, where it would come from, and the index that it is bound to."""
    index = IndexSpec(name="ours", url="https://index.example/simple", packages=("secret",))
    text = "secret[x]==1.0 ; python_version > '3'\n    # from https://user:word@other.example/simple\n"

    with pytest.raises(IndexMismatch) as caught:
        refuse_strangers([Resolved(name="secret", version="1.0")], {"secret": index}, read_indexes(text))

    (problem,) = caught.value.problems
    assert str(problem) == "secret 1.0: comes from https://other.example/simple, not from ours"


def test_a_trailing_slash_makes_no_stranger() -> None:
    """An index URL is the same with and without a slash at its end."""
    index = IndexSpec(name="ours", url="https://index.example/simple/", packages=("secret",))

    refuse_strangers(
        [Resolved(name="secret", version="1.0")],
        {"secret": index},
        {("secret", "1.0"): "https://index.example/simple"},
    )

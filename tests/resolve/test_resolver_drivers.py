"""The resolver drivers: one body for all of them, on an index of small packages."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler.errors import FetchFailed, ResolutionFailed, UsageError
from bundler.model.index import IndexConfig
from bundler.model.target import Target
from bundler.resolve.drivers import choose_resolver
from bundler.resolve.git_pins import PinningResolver, Pins
from bundler.resolve.port import CONSTRAINT, REQUESTED, Resolution, Resolver, ResolveRequest
from bundler.sources.git import GitSources
from bundler.store.cas import Store
from tests.resolve.answering import Told, told

Resolve = Callable[..., Resolution]


@pytest.fixture(params=["uv", pytest.param("pip", marks=pytest.mark.slow)])
def resolver(request: pytest.FixtureRequest) -> Resolver:
    return choose_resolver(request.param)


@pytest.fixture
def resolve(resolver: Resolver, host: Target, index: Any) -> Resolve:
    def run(*requirements: str, constraints: str = "", config: IndexConfig | None = None, **more: Any) -> Resolution:
        return resolver.resolve(
            ResolveRequest(
                requirements=requirements,
                targets=(host,),
                constraints=constraints,
                indexes=config or index.config(),
                **more,
            )
        )

    return run


def versions(resolution: Resolution) -> dict[str, str]:
    return {one.name: one.version for one in resolution.packages}


def test_the_closure_of_a_requirement_is_found_with_digests(resolve: Resolve, index: Any) -> None:
    """What a package requires is resolved too, and each file has an address and a sha256."""
    index.wheel("app", "1.0", ["Lib_One>=1"])
    index.wheel("lib_one", "1.5")

    found = resolve("app")

    assert versions(found) == {"app": "1.0", "lib-one": "1.5"}
    files = [file for one in found.packages for file in one.wheels]
    assert {file.name for file in files} == {"app-1.0-py3-none-any.whl", "lib_one-1.5-py3-none-any.whl"}
    assert all(len(file.sha256) == 64 and file.url.startswith("http://127.0.0.1") for file in files)


def test_a_constraint_limits_what_is_taken(resolve: Resolve, index: Any) -> None:
    """A constrained package has the version that the constraint allows, and a constraint alone adds nothing."""
    index.wheel("app", "1.0", ["lib"])
    index.wheel("lib", "1.0")
    index.wheel("lib", "2.0")

    found = resolve("app", constraints="lib===1.0\nother==3\n")

    assert versions(found) == {"app": "1.0", "lib": "1.0"}


def test_extras_and_markers_are_followed(resolve: Resolve, index: Any) -> None:
    """A requirement under an extra counts where the extra is asked for, one under a foreign marker never."""
    index.wheel("app", "1.0", ["more ; extra == 'full'", "never ; sys_platform == 'win32'"], extras=["full"])
    index.wheel("more", "1.0")

    assert versions(resolve("app")) == {"app": "1.0"}
    assert versions(resolve("app[full]")) == {"app": "1.0", "more": "1.0"}


def test_previous_versions_are_kept_until_upgraded(resolve: Resolve, index: Any) -> None:
    """A version of the previous lock stays although there is a newer one, unless its upgrade is asked for."""
    index.wheel("one", "1.0")
    index.wheel("one", "2.0")
    index.wheel("two", "1.0")
    index.wheel("two", "2.0")
    previous = {"one": "1.0", "two": "1.0"}

    kept = resolve("one", "two", previous=previous)
    upgraded = resolve("one", "two", previous=previous, upgrade=frozenset({"one"}))
    renewed = resolve("one", "two", previous=previous, upgrade=True)

    assert versions(kept) == {"one": "1.0", "two": "1.0"}
    assert versions(upgraded) == {"one": "2.0", "two": "1.0"}
    assert versions(renewed) == {"one": "2.0", "two": "2.0"}


def test_previous_versions_give_way_to_requirements(resolve: Resolve, index: Any) -> None:
    """A previous version that no longer fits is given up without an error."""
    index.wheel("one", "1.0")
    index.wheel("one", "2.0")

    assert versions(resolve("one>=2", previous={"one": "1.0"})) == {"one": "2.0"}


def test_a_conflict_says_who_wants_what(resolve: Resolve, index: Any) -> None:
    """The failure names the requirements that contradict each other and who states them."""
    index.wheel("app", "1.0", ["lib>=2"])
    index.wheel("lib", "1.0")
    index.wheel("lib", "2.0")

    with pytest.raises(ResolutionFailed) as caught:
        resolve("app", "lib<2")

    edges = {(edge.where.replace("app==1.0", "app"), edge.what) for edge in caught.value.problems}
    assert {("app", "lib>=2"), (REQUESTED, "lib<2")} <= edges


def test_a_conflict_with_a_constraint_names_both(resolve: Resolve, index: Any) -> None:
    """A requirement against a constraint is a conflict in which both stand."""
    index.wheel("lib", "1.0")
    index.wheel("lib", "2.0")

    with pytest.raises(ResolutionFailed) as caught:
        resolve("lib<2", constraints="lib==2.0")

    assert {(edge.where, edge.what) for edge in caught.value.problems} >= {
        (REQUESTED, "lib<2"),
        (CONSTRAINT, "lib==2.0"),
    }


def test_a_package_that_is_nowhere_is_named(resolve: Resolve, index: Any) -> None:
    """A package that no index has is a failure that names it."""
    index.wheel("app", "1.0", ["missing-one"])

    with pytest.raises(ResolutionFailed, match="missing-one"):
        resolve("app")


def test_an_unreachable_index_is_no_conflict(resolve: Resolve, index: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that cannot be reached is a network error, not a statement about versions."""
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("PIP_RETRIES", "0")
    spec = index.spec()
    dead = type(spec)(name="dead", url="http://127.0.0.1:1/simple")

    with pytest.raises((FetchFailed, ResolutionFailed)) as caught:
        resolve("app", config=IndexConfig(indexes=(dead,), env={"UV_HTTP_TIMEOUT": "2"}))

    assert isinstance(caught.value, FetchFailed)


def test_a_git_requirement_becomes_a_commit(
    resolver: Resolver, host: Target, write_source: Callable[..., Path], tmp_path: Path, index: Any
) -> None:
    """A tag of a repository is locked as the commit that it names, its requirements resolved from the index."""
    index.wheel("lib", "1.0")
    repository = tmp_path / "repository"
    write_source(repository / "inner", "gitted", "0.5", ["lib"])
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    pinning = PinningResolver(inner=resolver, pins=Pins(commit_of=GitSources(Store(tmp_path / "store")).resolve))
    request = ResolveRequest(
        requirements=(f"gitted @ git+{repository.as_uri()}@v1#subdirectory=inner",),
        targets=(host,),
        indexes=index.config(),
        answers=Told([told("gitted", "0.5", "lib")]),
    )

    found = pinning.resolve(request)

    assert (pinning.name, pinning.version) == (resolver.name, resolver.version)
    assert set(versions(found)) == {"gitted", "lib"}
    source = next(one.git for one in found.packages if one.git is not None)
    assert (source.commit, source.requested_revision, source.subdirectory) == (commit, "v1", "inner")
    assert source.url == repository.as_uri()


def test_a_directory_is_a_source(resolve: Resolve, write_source: Callable[..., Path], tmp_path: Path) -> None:
    """A local source tree is resolved in place."""
    tree = write_source(tmp_path / "tree", "treed", "0.1")

    found = resolve(f"treed @ {tree.as_uri()}", answers=Told([told("treed", "0.1")]))

    assert [one.directory for one in found.packages] == [tree]


def test_a_folder_of_wheels_is_used(resolve: Resolve, indexes: Any, tmp_path: Path) -> None:
    """Without any index, packages come from local folders, with digests."""
    path = indexes.make("aside").wheel("foldered", "1.0")
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / path.name).write_bytes(path.read_bytes())

    found = resolve("foldered", config=IndexConfig(folders=(folder,)))

    wheel = found.packages[0].wheels[0]
    assert wheel.url == (folder / path.name).as_uri()
    assert len(wheel.sha256) == 64


def test_a_yanked_version_is_reported(resolve: Resolve, index: Any) -> None:
    """A pinned version that its author withdrew is taken, marked with the reason, and warned of."""
    index.wheel("app", "1.0", yanked="eats data")
    index.wheel("app", "0.9")

    found = resolve("app==1.0")

    assert [one.yanked for one in found.packages] == ["eats data"]
    assert any("eats data" in warning and "app" in warning for warning in found.warnings)


def test_credentials_never_come_back(resolve: Resolve, indexes: Any) -> None:
    """An index that wants a password is read with it, and neither addresses nor warnings repeat it."""
    private = indexes.make("locked-up", private=True)
    private.wheel("inside", "1.0")
    env = {"UV_INDEX_LOCKED_UP_USERNAME": "reader", "UV_INDEX_LOCKED_UP_PASSWORD": "s3cr3t-word"}

    found = resolve("inside", config=private.config(env=env))

    assert versions(found) == {"inside": "1.0"}
    assert "s3cr3t-word" not in repr(found)


def test_credentials_are_not_in_messages(resolve: Resolve, indexes: Any) -> None:
    """A failure at an index with a password does not show the password."""
    private = indexes.make("locked-up", private=True)
    env = {"UV_INDEX_LOCKED_UP_USERNAME": "reader", "UV_INDEX_LOCKED_UP_PASSWORD": "s3cr3t-word"}

    with pytest.raises(ResolutionFailed) as caught:
        resolve("absent", config=private.config(env=env))

    assert "s3cr3t" not in repr((caught.value.message, caught.value.hint, caught.value.problems))


def test_an_index_that_refuses_the_credentials_is_named(resolve: Resolve, indexes: Any) -> None:
    """With a wrong password it is the index that fails, not the package that is called missing."""
    private = indexes.make("locked-up", private=True)
    private.wheel("inside", "1.0")
    env = {"UV_INDEX_LOCKED_UP_USERNAME": "reader", "UV_INDEX_LOCKED_UP_PASSWORD": "wr0ng-word"}

    with pytest.raises(FetchFailed) as caught:
        resolve("inside", config=private.config(env=env))

    told = repr((caught.value.message, caught.value.problems))
    assert "401" in told
    assert private.url in told
    assert "netrc" in str(caught.value.hint)
    assert "wr0ng-word" not in told


def test_no_constraints_are_no_reason_to_warn(resolve: Resolve, index: Any) -> None:
    """A request that constrains nothing gives no warning."""
    index.wheel("app", "1.0")

    assert resolve("app").warnings == ()


def test_the_users_configuration_is_left_out(
    resolve: Resolve, index: Any, indexes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Indexes in the configuration or environment of pip and uv are not used."""
    other = indexes.make("other")
    other.wheel("app", "9.0")
    index.wheel("app", "1.0")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, other.url)
    home = tmp_path / "xdg"
    for tool, name, text in (
        ("uv", "uv.toml", f'[[index]]\nname = "other"\nurl = "{other.url}"\n'),
        ("pip", "pip.conf", f"[global]\nindex-url = {other.url}\n"),
    ):
        (home / tool).mkdir(parents=True)
        (home / tool / name).write_text(text)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))

    assert versions(resolve("app")) == {"app": "1.0"}


def test_an_unknown_driver_is_refused_with_the_known_ones() -> None:
    """A resolver that no entry point names is a usage error that lists the others."""
    with pytest.raises(UsageError) as caught:
        choose_resolver("conda")

    assert "pip" in caught.value.hint
    assert "uv" in caught.value.hint


def test_drivers_implement_the_port(resolver: Resolver) -> None:
    """A driver has a name and a version, as the lock records them."""
    assert resolver.name in ("uv", "pip")
    assert resolver.version[0].isdigit()

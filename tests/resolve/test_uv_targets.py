"""One resolve for several targets, and what pip refuses of such requests."""

from __future__ import annotations

from typing import Any

import pytest

from bundler.errors import UsageError
from bundler.model.index import IndexConfig, IndexSpec
from bundler.model.lock import LockedPackage
from bundler.model.target import Target, known_target
from bundler.resolve.choose import Impossible
from bundler.resolve.pip import check
from bundler.resolve.port import Resolution, ResolveRequest
from bundler.resolve.units import choices
from bundler.resolve.uv import UvResolver
from bundler.resolve.uv_project import environments, oldest_python


def resolve(index: Any, targets: tuple[Target, ...], *requirements: str) -> Resolution:
    request = ResolveRequest(requirements=requirements, targets=targets, indexes=index.config())
    return UvResolver().resolve(request)


def taken(resolution: Resolution, target: Target) -> dict[str, str]:
    return {one.name: one.version for one in choices(resolution, target)}


def test_each_target_takes_what_its_markers_say(index: Any, bookworm: Target, trixie_arm: Target) -> None:
    """A requirement for one architecture or Python is taken there only."""
    index.wheel("app", "1.0", ["arm ; platform_machine == 'aarch64'", "old ; python_version < '3.12'"])
    index.wheel("arm", "1.0")
    index.wheel("old", "1.0")

    found = resolve(index, (bookworm, trixie_arm), "app")

    assert taken(found, bookworm) == {"app": "1.0", "old": "1.0"}
    assert taken(found, trixie_arm) == {"app": "1.0", "arm": "1.0"}


def test_targets_may_need_different_versions(index: Any, bookworm: Target, trixie_arm: Target) -> None:
    """A package that is pinned per Python resolves to one version for each target."""
    index.wheel("lib", "1.0")
    index.wheel("lib", "2.0")

    found = resolve(
        index, (bookworm, trixie_arm), "lib==1.0 ; python_version < '3.12'", "lib==2.0 ; python_version >= '3.12'"
    )

    assert taken(found, bookworm) == {"lib": "1.0"}
    assert taken(found, trixie_arm) == {"lib": "2.0"}


def test_other_systems_play_no_part(index: Any, bookworm: Target) -> None:
    """A contradiction that only holds on a system that is no target does not fail the resolve."""
    index.wheel("app", "1.0", ["lib>=2 ; sys_platform == 'win32'", "lib<2"])
    index.wheel("lib", "1.0")
    index.wheel("lib", "2.0")

    found = resolve(index, (bookworm,), "app")

    assert taken(found, bookworm) == {"app": "1.0", "lib": "1.0"}


def test_the_patch_level_of_the_python_counts(index: Any, bookworm: Target) -> None:
    """A version that needs a newer patch level than the target's Python is not taken."""
    index.wheel("lib", "1.0")
    index.wheel("lib", "2.0", python=">=3.11.9")

    assert taken(resolve(index, (bookworm,), "lib"), bookworm) == {"lib": "1.0"}


def test_what_a_target_cannot_have_is_impossible(index: Any, bookworm: Target, trixie_arm: Target) -> None:
    """A package with wheels of one architecture and no sdist is impossible on the other."""
    index.wheel("native", "1.0", tag="cp39-abi3-manylinux_2_17_x86_64")

    found = resolve(index, (bookworm, trixie_arm), "native")

    assert isinstance(choices(found, bookworm)[0], LockedPackage)
    assert isinstance(choices(found, trixie_arm)[0], Impossible)


def test_environments_do_not_overlap() -> None:
    """Systems with the same architecture and Python are one environment, from the oldest patch level on."""
    targets = [known_target(name) for name in ("rocky-10-x86_64", "ubuntu-24.04-x86_64", "debian-13-x86_64")]

    found = environments(targets)

    assert len(found) == 2
    assert "3.12.3" in found[0]
    assert oldest_python(targets) == "3.12.3"


def test_pip_refuses_all_that_it_cannot_honour(host: Target, bookworm: Target) -> None:
    """Several targets, a bound package and several indexes are refused together, each by name."""
    config = IndexConfig(
        indexes=(IndexSpec(name="one", url="https://index.example/simple"), IndexSpec(name="two", packages=("x",)))
    )
    request = ResolveRequest(requirements=("x",), targets=(known_target("rocky-9-aarch64"), host), indexes=config)

    with pytest.raises(UsageError) as caught:
        check(request)

    text = "\n".join(map(str, caught.value.problems))
    assert "cannot bind x" in text
    assert "rocky-9-aarch64" in text
    assert "namesake" in text


def test_pip_takes_the_hosts_own_target(host: Target) -> None:
    """A request for the interpreter of this host is accepted."""
    assert check(ResolveRequest(requirements=("x",), targets=(host,))) is host

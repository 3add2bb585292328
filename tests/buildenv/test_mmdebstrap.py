"""How a failed mmdebstrap reads, by what it really says; nothing is installed here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bundler.buildenv import apt
from bundler.buildenv.mmdebstrap import bootstrap, explained
from bundler.buildenv.recipe import Recipe, base_recipe
from bundler.errors import BuildEnvironmentError
from bundler.model.manifest import System
from bundler.model.target import known_target

RECIPE = Recipe(
    suite="trixie",
    architecture="amd64",
    sources=("deb http://mirror.test/debian trixie main",),
    packages=("python3",),
)


@pytest.mark.parametrize(
    ("output", "said", "hint"),
    [
        (
            "E: Unable to locate package libno-dev\nE: mmdebstrap failed to run\n",
            "no such packages",
            "distro_packages",
        ),
        ("E: Failed to fetch http://mirror.test/debian/dists  Could not connect\n", "cannot be reached", "mirrors"),
        ("W: GPG error: http://x InRelease: NO_PUBKEY 0E98404D386FA1D9\nE: not signed\n", "not signed", "keyring"),
        ("E: newuidmap failed: uid range not allowed\n", "newuidmap failed", "subuid"),
        ("E: arm64 can neither be executed natively nor via qemu; arch-test says no\n", "arm64", "qemu-user-static"),
        ("", "it said nothing", "run it by hand"),
    ],
)
def test_each_failure_has_one_line_and_what_to_do(output: str, said: str, hint: str) -> None:
    """The cause is taken from what mmdebstrap and apt say; its own last words do not hide it."""
    error = explained(output, RECIPE, "debian-13-x86_64")

    assert said in error.message
    assert hint in error.hint


def test_every_unknown_package_is_named() -> None:
    """All of them at once, as problems."""
    error = explained("E: Unable to locate package a-dev\nE: Unable to locate package b\n", RECIPE, "x")

    assert [problem.where for problem in error.problems] == ["a-dev", "b"]


@pytest.mark.rootfs
@pytest.mark.slow
def test_a_mirror_out_of_reach_is_named(tmp_path: Path) -> None:
    """The real mmdebstrap at an address where nobody listens; nothing is left behind."""
    recipe = replace(RECIPE, sources=("deb [trusted=yes] http://127.0.0.1:9/debian trixie main",))
    with pytest.raises(BuildEnvironmentError, match=r"mirror cannot be reached: \S*127\.0\.0\.1"):
        bootstrap(recipe, tmp_path / "system.tar", what="debian-13-x86_64")


@pytest.mark.rootfs
@pytest.mark.network
@pytest.mark.slow
def test_a_package_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """The real mmdebstrap and the real archive."""
    target = known_target("debian-12-x86_64")
    recipe = base_recipe(target, System(packages=("no-such-package-dev",)), apt.known_archives(), ())
    with pytest.raises(BuildEnvironmentError) as caught:
        bootstrap(recipe, tmp_path / "system.tar", what=target.name)

    assert [problem.where for problem in caught.value.problems] == ["no-such-package-dev"]

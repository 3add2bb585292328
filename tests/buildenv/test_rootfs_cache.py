"""Root file systems are made once, and anew when asked; a small tar stands for what mmdebstrap makes."""

from __future__ import annotations

import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from bundler.buildenv import rootfs_cache
from bundler.buildenv.recipe import Recipe
from bundler.buildenv.rootfs_cache import RootfsCache
from bundler.errors import BuildEnvironmentError
from bundler.store.cas import Store

BASE = Recipe(suite="s", architecture="amd64", sources=("deb x s main",), packages=("python3",))


class Bootstraps:
    """Stands in for mmdebstrap: writes a tar with dpkg's record, and notes what was asked."""

    def __init__(self) -> None:
        self.made: list[tuple[tuple[str, ...], bool]] = []
        self.version = "1"
        self.fails = False

    def __call__(self, recipe: Recipe, into: Path, *, base: Path | None = None, what: str = "") -> None:
        if self.fails:
            raise BuildEnvironmentError(f"{what}: no mirror")
        self.made.append((recipe.packages, base is not None and base.is_file()))
        status = "".join(
            f"Package: {name}\nStatus: install ok installed\nVersion: {self.version}\nArchitecture: amd64\n\n"
            for name in recipe.packages
        ).encode()
        if into.is_dir():
            (into / "var/lib/dpkg").mkdir(parents=True)
            (into / "var/lib/dpkg/status").write_bytes(status)
            return
        with tarfile.open(into, "w") as archive:
            info = tarfile.TarInfo("./var/lib/dpkg/status")
            info.size = len(status)
            archive.addfile(info, BytesIO(status))


@pytest.fixture
def bootstraps(monkeypatch: pytest.MonkeyPatch) -> Bootstraps:
    found = Bootstraps()
    monkeypatch.setattr(rootfs_cache, "bootstrap", found)
    return found


def test_a_system_with_more_packages_is_made_on_top_of_its_base(tmp_path: Path, bootstraps: Bootstraps) -> None:
    """The base is made once for all of them, and each of them once."""
    cache = RootfsCache(store=Store(tmp_path))
    first = cache.derived(BASE, ("libldap2",), "one")
    again = cache.derived(BASE, ("libldap2",), "one")
    cache.derived(BASE, ("libpq5",), "two")

    assert bootstraps.made == [
        (("python3",), False),
        (("libldap2", "python3"), True),
        (("libpq5", "python3"), True),
    ]
    assert first == again
    assert (first.path / "var/lib/dpkg/status").is_file()


def test_nothing_more_is_the_base_itself(tmp_path: Path, bootstraps: Bootstraps) -> None:
    """A venv without runtime packages runs in the base."""
    cache = RootfsCache(store=Store(tmp_path))

    assert cache.derived(BASE, (), "one") == cache.base(BASE, "base")
    assert len(bootstraps.made) == 1


def test_a_refresh_makes_each_anew_once_in_a_run(tmp_path: Path, bootstraps: Bootstraps) -> None:
    """New versions of packages give another identity; without a refresh the old system stays."""
    before = RootfsCache(store=Store(tmp_path)).derived(BASE, ("a",), "one")
    bootstraps.version = "2"
    kept = RootfsCache(store=Store(tmp_path)).derived(BASE, ("a",), "one")
    fresh = RootfsCache(store=Store(tmp_path), refresh=True)
    renewed = fresh.derived(BASE, ("a",), "one")
    fresh.derived(BASE, ("a",), "one")

    assert kept.identity == before.identity
    assert renewed.identity != before.identity
    assert len(bootstraps.made) == 4


def test_a_failure_leaves_the_old_system(tmp_path: Path, bootstraps: Bootstraps) -> None:
    """A refresh without a mirror fails, and the next run without it works."""
    before = RootfsCache(store=Store(tmp_path)).base(BASE, "one")
    bootstraps.fails = True
    with pytest.raises(BuildEnvironmentError):
        RootfsCache(store=Store(tmp_path), refresh=True).base(BASE, "one")

    assert RootfsCache(store=Store(tmp_path)).base(BASE, "one") == before

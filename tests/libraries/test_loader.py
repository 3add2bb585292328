"""The loader's order of steps, on files that are only described."""

from __future__ import annotations

import posixpath
from typing import Any

import pytest

from bundler.archive.elf import Elf
from bundler.buildenv.dpkg import Package
from bundler.venvs.loader import Failure, Loader
from bundler.venvs.system_libraries import Binary, SystemLibraries

SITE = "/v/lib/py/site-packages"
BASE, OTHER = (Package(name=name, version="1", arch="all") for name in ("base", "other"))


class Described(SystemLibraries):
    """A system of libraries that are listed by their path; the directory /lib is searched."""

    def __init__(self, *binaries: Binary) -> None:
        self.arch = "x86_64"
        self._listed = {binary.path: binary for binary in binaries}

    @property
    def lib(self) -> str:
        return "lib/x86_64-linux-gnu"

    def find(self, name: str) -> Binary | None:
        return self._listed.get(f"/lib/{name}")

    def at(self, path: str) -> Binary | None:
        return self._listed.get(posixpath.normpath(path))


def elf(*needed: str, **more: Any) -> Elf:
    return Elf(machine="x86_64", needed=needed, **more)


def system(name: str, *needed: str, package: Package = BASE, **more: Any) -> Binary:
    path = name if name.startswith("/") else f"/lib/{name}"
    return Binary(path=path, elf=elf(*needed, soname=posixpath.basename(name), **more), packages=(package,))


def inside(path: str, *needed: str, **more: Any) -> Binary:
    path = path if path.startswith("/") else f"{SITE}/{path}"
    return Binary(path=path, elf=elf(*needed, **more), wheel="w")


def load(*binaries: Binary) -> tuple[list[str], list[Failure]]:
    """Load the first; return the paths of what is loaded with it, and the failures."""
    first = binaries[0]
    venv = {binary.path: binary for binary in binaries if binary.wheel}
    described = Described(*(binary for binary in binaries if not binary.wheel))
    done = Loader(install_path="/v", inside=venv, system=described, allowed=frozenset({BASE})).load(first)
    return [path for path in done.loaded if path != first.path], done.failures


def missing(*binaries: Binary) -> list[str]:
    return [failure.name for failure in load(*binaries)[1]]


def test_what_is_needed_is_loaded_breadth_first() -> None:
    """Needed libraries come before what they need in turn, each once."""
    binaries = (inside("m.so", "a", "b"), system("a", "c"), system("b", "c", "a"), system("c"))

    assert load(*binaries) == (["/lib/a", "/lib/b", "/lib/c"], [])


def test_a_library_that_nobody_has_is_a_failure_of_who_needs_it() -> None:
    """It is said once, with the first file that needs it and the file for which that was loaded."""
    (failure,) = load(inside("m.so", "a", "b"), system("a", "gone"), system("b", "gone"))[1]

    assert (failure.first.path, failure.binary.path, failure.name) == (f"{SITE}/m.so", "/lib/a", "gone")
    assert failure.found is None


@pytest.mark.parametrize(
    "entry",
    ["$ORIGIN/../w.libs", "${ORIGIN}/../w.libs", f"{SITE}/w.libs", "/x:/v/lib/python3.9/site-packages/w.libs"],
)
@pytest.mark.parametrize("tag", ["rpath", "runpath"])
def test_search_paths_lead_to_libraries_of_the_venv(tag: str, entry: str) -> None:
    """Both kinds, relative to the file and absolute, by the venv's versioned directory too; before the system's."""
    binaries = (inside("w/m.so", "a", **{tag: tuple(entry.split(":"))}), inside("w.libs/a"), system("a"))

    assert load(*binaries) == ([f"{SITE}/w.libs/a"], [])


def test_a_search_path_may_lead_to_the_system() -> None:
    """``$LIB`` and ``$PLATFORM`` stand for the target's own directories."""
    binary = inside("m.so", "a", runpath=("/usr/$LIB/${PLATFORM}",))

    assert load(binary, system("/usr/lib/x86_64-linux-gnu/x86_64/a")) == (["/usr/lib/x86_64-linux-gnu/x86_64/a"], [])


def test_rpath_is_inherited_and_runpath_is_not() -> None:
    """DT_RPATH of what loaded a file counts for it; DT_RUNPATH does not, and shuts out the inherited one."""
    a, b = inside("libs/a", "b"), inside("libs/b")

    assert missing(inside("m.so", "a", rpath=(f"{SITE}/libs",)), a, b) == []
    assert missing(inside("m.so", "a", runpath=(f"{SITE}/libs",)), a, b) == ["b"]
    shut = inside("libs/a", "b", runpath=("/elsewhere",))
    assert missing(inside("m.so", "a", rpath=(f"{SITE}/libs",)), shut, b) == ["b"]


def test_what_is_loaded_already_is_taken() -> None:
    """A library is known by its DT_SONAME, so a later file needs no search path for it."""
    search = {"runpath": (f"{SITE}/libs",)}
    known = inside("libs/a-1f2e.so", soname="a")

    assert missing(inside("m.so", "a-1f2e.so", "b", **search), known, inside("libs/b", "a")) == []
    assert missing(inside("m.so", "b", "a-1f2e.so", **search), known, inside("libs/b", "c")) == ["c"]


def test_the_systems_directories_can_be_left_out() -> None:
    """With DF_1_NODEFLIB only the file's own search path counts."""
    assert missing(inside("m.so", "a", default_places=False), system("a")) == ["a"]


def test_a_needed_path_is_taken_as_it_is() -> None:
    """A name with a slash is not searched for; one that depends on the current directory is never there."""
    assert missing(inside("m.so", "/opt/a", "x/a"), system("/opt/a")) == ["x/a"]
    assert missing(inside("m.so", "$ORIGIN/a"), inside("a")) == []


def test_libraries_of_the_system_do_not_hide_below_the_venv() -> None:
    """A path below the install path is the venv's, even where this host has such a file."""
    assert missing(inside("m.so", "a", runpath=(SITE,)), system(f"{SITE}/a")) == ["a"]


def test_a_library_of_a_package_that_is_not_named_is_a_failure() -> None:
    """It is there, but a host need not have it; what it needs in turn is not looked at."""
    (failure,) = load(inside("m.so", "a"), system("a", "gone", package=OTHER))[1]

    assert failure.found is not None
    assert (failure.name, failure.found.packages) == ("a", (OTHER,))


def test_without_a_package_manager_presence_is_enough() -> None:
    """Where no one tells whose a library is, it counts."""
    binary = inside("m.so", "a")
    loader = Loader(install_path="/v", inside={}, system=Described(system("a", package=OTHER)), allowed=None)

    assert loader.load(binary).failures == []


def test_a_symbol_version_that_a_library_lacks_is_a_failure() -> None:
    """All that are missing are named; a library without any versions is taken as it is."""
    needs = inside("m.so", "a", "b", requires={"a": ("A_1", "A_2", "A_3"), "b": ("B_9",)})
    (failure,) = load(needs, system("a", defines=("a", "A_1")), system("b"))[1]

    assert (failure.name, failure.versions) == ("a", ("A_2", "A_3"))


def test_a_program_needs_its_loader() -> None:
    """A program for another C library cannot start at all: that is said, and nothing else."""
    program = inside("/v/bin/tool", "libc.musl-x86_64.so.1", interpreter="/lib/ld-musl-x86_64.so.1")

    assert missing(program) == ["/lib/ld-musl-x86_64.so.1"]
    assert missing(program, system("ld-musl-x86_64.so.1"), system("libc.musl-x86_64.so.1")) == []

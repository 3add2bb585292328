"""The libraries of a root file system, found as its loader finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.archive.elf import Elf
from bundler.venvs.system_libraries import SystemLibraries
from tests.libraries.conftest import ARCH, FOREIGN, LIBRARIES, Compiler, foreign, put

pytestmark = pytest.mark.native


def found(root: Path, name: str, arch: str = ARCH) -> str | None:
    library = SystemLibraries(root, arch).find(name)
    return None if library is None else library.path


def test_directories_of_the_configuration_come_first(cc: Compiler, tmp_path: Path) -> None:
    """ld.so.conf and what it includes name directories before the loader's own; comments and hwcap do not."""
    library = cc.library("liba.so.1")
    put(tmp_path, {"/opt/own/liba.so.1": library, f"{LIBRARIES}/liba.so.1": library, "/commented/liba.so.1": library})
    put(
        tmp_path,
        {
            "/etc/ld.so.conf": b"# /commented\ninclude ld.so.conf.d/*.conf\nhwcap 0 nosegneg\n",
            "/etc/ld.so.conf.d/z.conf": b"/nowhere:/opt/own  # the site's\n",
            "/etc/ld.so.conf.d/loop.conf": b"include /etc/ld.so.conf\n",
        },
    )

    assert found(tmp_path, "liba.so.1") == "/opt/own/liba.so.1"
    assert SystemLibraries(tmp_path, ARCH).directories[:3] == ("/nowhere", "/opt/own", f"/lib/{ARCH}-linux-gnu")


@pytest.mark.parametrize("place", [LIBRARIES, "/lib64", "/usr/lib64", "/usr/lib", "/lib"])
def test_the_loaders_own_directories_are_known(cc: Compiler, tmp_path: Path, place: str) -> None:
    """Without any configuration, those of Debian and of Red Hat's family are searched."""
    put(tmp_path, {f"{place}/liba.so.1": cc.library("liba.so.1")})

    assert found(tmp_path, "liba.so.1") == f"{place}/liba.so.1"


def test_absolute_links_stay_inside_the_root(cc: Compiler, tmp_path: Path) -> None:
    """A library by way of /etc/alternatives is the one of the root, not of this host."""
    put(tmp_path, {"/usr/lib/real/libblas.so.3": cc.library("libblas.so.3")})
    (tmp_path / "etc/alternatives").mkdir(parents=True)
    (tmp_path / "etc/alternatives/blas").symlink_to("/usr/lib/real/libblas.so.3")
    (tmp_path / "usr/lib/libblas.so.3").symlink_to("/etc/alternatives/blas")

    assert found(tmp_path, "libblas.so.3") == "/usr/lib/libblas.so.3"


def test_libraries_of_another_machine_are_passed_over(cc: Compiler, tmp_path: Path) -> None:
    """The loader goes on to the next directory; a text file and a dead link are no libraries either."""
    library = cc.library("liba.so.1")
    put(tmp_path, {"/etc/ld.so.conf": b"/one\n/two\n/three\n/four", "/two/liba.so.1": b"INPUT(liba.so.2)\n"})
    put(tmp_path, {"/one/liba.so.1": foreign(library), "/four/liba.so.1": library, "/three/x": b""})
    (tmp_path / "three/liba.so.1").symlink_to("nothing")

    assert found(tmp_path, "liba.so.1", ARCH) == "/four/liba.so.1"
    assert found(tmp_path, "liba.so.1", FOREIGN) == "/one/liba.so.1"
    assert found(tmp_path, "libb.so.1") is None


def test_what_a_library_says_of_itself_is_read(cc: Compiler, tmp_path: Path) -> None:
    """Names, search paths and symbol versions come from the file; an owner from dpkg."""
    cc.library("libb.so.1", versions=["B_1", "B_2"])
    library = cc.library(
        "liba.so.1", "libb.so.1", flags=["-Wl,--disable-new-dtags,-rpath,$ORIGIN/x:/y", "-Wl,-z,nodefaultlib"]
    )
    put(tmp_path, {f"{LIBRARIES}/liba.so.1": library}, "a-package")

    binary = SystemLibraries(tmp_path, ARCH).find("liba.so.1")
    assert binary is not None
    assert [str(package) for package in binary.packages] == ["a-package=1.0-1:all"]
    assert binary.elf == Elf(
        machine=ARCH,
        needed=("libb.so.1",),
        soname="liba.so.1",
        rpath=("$ORIGIN/x", "/y"),
        default_places=False,
        requires={"libb.so.1": ("B_1",)},
    )
    cc.library("libc.so.1", flags=["-Wl,--enable-new-dtags,-rpath,/y::"])
    put(tmp_path, {"/lib/libc.so.1": (cc.folder / "libc.so.1").read_bytes()})
    put(tmp_path, {"/lib/libb.so.1": (cc.folder / "libb.so.1").read_bytes()})
    other, versioned = (SystemLibraries(tmp_path, ARCH).find(name) for name in ("libc.so.1", "libb.so.1"))
    assert other is not None
    assert (other.elf.rpath, other.elf.runpath) == ((), ("/y",))
    assert versioned is not None
    assert versioned.elf.defines == ("libb.so.1", "B_1", "B_2")

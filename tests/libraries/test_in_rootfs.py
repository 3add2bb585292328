"""Real root file systems of Debian 12: a module compiled in one, held to the packages of another; system packages."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.errors import LibraryMissing, VenvError
from bundler.model.target import Python
from bundler.venvs.libraries import check_libraries
from bundler.venvs.system_packages import find_system_packages
from tests.bare import Bare
from tests.libraries.conftest import ARCH, Shop

pytestmark = [pytest.mark.rootfs, pytest.mark.network, pytest.mark.slow]
PACKAGES = ("gcc", "libc6-dev", "libldap-dev", "python3-apt", "python3-libvirt")
MODULE = "_ldap.cpython-311.so"
PYTHON = Python(full_version="3.11.2", executable="/usr/bin/python3.11")


@pytest.fixture(scope="session")
def full(bare: Callable[..., Path]) -> Path:
    """Give a system with a compiler, headers, and packages that bring Python modules."""
    return bare("bookworm", *PACKAGES)


@pytest.fixture
def runtime(full: Path, tmp_path: Path) -> Path:
    """Give the same system without OpenLDAP's libraries."""
    root = tmp_path / "runtime"
    subprocess.run(["cp", "-a", "--reflink=auto", full, root], check=True)
    remove = ["dpkg", f"--root={root}", "--force-depends", "--remove", "libldap-dev", "libldap-2.5-0"]
    subprocess.run(remove, check=True, capture_output=True)
    return root


@pytest.fixture
def module(full: Path, tmp_path: Path) -> bytes:
    """Give an extension module that is compiled against the headers of the full system."""
    work = tmp_path / "work"
    work.mkdir()
    code = "#include <ldap.h>\nint answer(void) { LDAP *one; return ldap_initialize(&one, 0); }\n"
    (work / "ldap.c").write_text(code)
    command = ("gcc", "-shared", "-fPIC", "-o", f"/here/{MODULE}", "/here/ldap.c", "-lldap")
    Bare(root=full, binds={"/here": work}).run(*command)
    return (work / MODULE).read_bytes()


def test_a_library_of_a_build_package_is_an_error_that_names_it(
    full: Path, runtime: Path, module: bytes, shop: Shop, tmp_path: Path
) -> None:
    """The runtime system cannot load the module, which is said before anyone tries; with the package it can."""
    request = shop.request(runtime, shop.wheel("python-ldap", {MODULE: module}, "3.4.4"), build_root=full)
    with pytest.raises(LibraryMissing) as caught:
        check_libraries([request], shop.store)
    (problem,) = caught.value.problems

    assert problem.where == f"venvs.web on debian-12-{ARCH}: python-ldap 3.4.4"
    assert problem.what == f"{MODULE} needs libldap-2.5.so.0"
    assert problem.hint == "add libldap-2.5-0 to its distro_packages.runtime"
    load = ("python3", "-c", f"import ctypes; ctypes.CDLL('/here/{MODULE}')")
    binds = {"/here": tmp_path / "work"}
    assert "libldap-2.5.so.0: cannot open shared" in Bare(root=runtime, binds=binds).run(*load, status=1).stderr
    Bare(root=full, binds=binds).run(*load)

    with pytest.raises(LibraryMissing):
        check_libraries([replace(request, root=full)], shop.store)
    (report,) = check_libraries([replace(request, root=full, host_packages=("libldap-2.5-0",))], shop.store)
    assert {"libldap-2.5-0", "libsasl2-2"} <= set(report.packages)


def test_system_packages_of_a_root_work_through_their_links(full: Path, tmp_path: Path) -> None:
    """Modules and C bindings are linked as the packages have them, and load in that root by their links alone."""
    found = find_system_packages(["python3-apt", "python3-libvirt"], PYTHON, full)
    for path, goal in found.links:
        link = tmp_path / "venv" / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(goal)

    linked = {path.rpartition("/")[2] for path, _ in found.links}
    assert {"apt", "aptsources", "libvirt.py", f"apt_pkg.cpython-311-{ARCH}-linux-gnu.so"} <= linked
    assert {"apt", "apt_pkg", "libvirt", "libvirtmod"} <= set(found.modules)
    code = f"import sys; sys.path.append('/venv/lib/py/site-packages'); import {', '.join(found.modules)}"
    code += "; import apt.progress.text; print(apt.__file__, libvirt.getVersion() > 0)"
    done = Bare(root=full, binds={"/venv": tmp_path / "venv"}).run("python3", "-I", "-S", "-c", code)
    assert done.stdout == "/venv/lib/py/site-packages/apt/__init__.py True\n"


def test_a_system_package_that_the_root_lacks_is_named(full: Path) -> None:
    """What this host has does not count; what the root has for another Python neither."""
    with pytest.raises(VenvError) as caught:
        find_system_packages(["python3-guestfs", "python3-libvirt", "gcc"], PYTHON, full)

    assert [problem.what for problem in caught.value.problems] == [
        "python3-guestfs is not installed in the target's root file system",
        "gcc has no module for Python 3.11",
    ]

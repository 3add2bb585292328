"""dpkg's database, read as it stands below a root."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bundler.buildenv.dpkg import Dpkg, installed_versions, open_dpkg, owner_of, resolve, runtime_closure
from bundler.errors import BuildEnvironmentError

STATUS = """\
Package: base-files
Status: install ok installed
Essential: yes
Version: 12
Architecture: amd64
Depends: libc6 (>= 2.36)
Description: base
 Package: not-a-package
 .
 more

Package: libc6
Status: install ok installed
Version: 2.36-9
Architecture: amd64
Multi-Arch: same

Package: libc6
Status: install ok installed
Version: 2.36-9
Architecture: i386
Multi-Arch: same

Package: apt
Status: install ok triggers-pending
Version: 2.6
Architecture: amd64
Depends: gpgv | gpgv2, libc6

Package: gpgv2
Status: install ok installed
Version: 2.2
Architecture: all

Package: python3
Status: hold ok installed
Version: 3.11.2
Architecture: amd64
Pre-Depends: python3-minimal (= 3.11.2), libc6

Package: python3-minimal
Status: install ok installed
Version: 3.11.2
Architecture: amd64

Package: web
Status: install ok installed
Version: 1:1.0~rc1
Architecture: amd64
Depends: mail-agent, python3:any, absent (>> 2) | absent-too,
 ignored-continuation

Package: postfix
Status: install ok installed
Version: 3.7
Architecture: amd64
Provides: mail-agent (= 1), smtp
Depends: web

Package: tools
Status: install ok installed
Priority: required
Version: 1
Architecture: all

Package: removed
Status: deinstall ok config-files
Version: 9
Architecture: amd64

Package: half
Status: install ok half-configured
Version: 9
Architecture: amd64
"""


def make_root(root: Path, files: Mapping[str, str], status: str = STATUS) -> Path:
    """Make a root whose dpkg knows ``status`` and, by list, the paths in ``files``."""
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info.parent / "status").write_text(status)
    for name, paths in files.items():
        (info / f"{name}.list").write_text("/.\n" + paths)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path, {"libc6:amd64": "/lib/x/libc.so.6\n", "libc6:i386": "/lib/y/libc.so.6\n"})


def test_installed_versions_are_those_of_whole_packages(root: Path) -> None:
    """Every package that works is there with version and architecture, once for each, sorted; others are not."""
    assert installed_versions(root) == (
        "apt=2.6:amd64",
        "base-files=12:amd64",
        "gpgv2=2.2:all",
        "libc6=2.36-9:amd64",
        "libc6=2.36-9:i386",
        "postfix=3.7:amd64",
        "python3-minimal=3.11.2:amd64",
        "python3=3.11.2:amd64",
        "tools=1:all",
        "web=1:1.0~rc1:amd64",
    )


@pytest.mark.parametrize(
    ("asked", "closure"),
    [
        (["gpgv2"], {"gpgv2"}),
        (["apt"], {"apt", "gpgv2", "libc6"}),
        (["python3=3.11.2"], {"python3", "python3-minimal", "libc6"}),
        (["smtp"], {"postfix", "web", "python3", "python3-minimal", "libc6"}),
        (["web", "apt"], {"web", "postfix", "python3", "python3-minimal", "libc6", "apt", "gpgv2"}),
        (["removed", "absent", "!"], set()),
    ],
)
def test_a_closure_follows_dependencies(root: Path, asked: list[str], closure: set[str]) -> None:
    """Alternatives, virtual packages, qualifiers and cycles are followed; what is not installed is passed over."""
    assert runtime_closure(root, asked) == closure


def test_a_closure_stays_with_one_architecture(root: Path) -> None:
    """A dependency is met by the package of the same architecture, unless another is asked for by name."""
    dpkg = Dpkg(root)

    assert {str(one) for one in dpkg.closure(["base-files"])} == {"base-files=12:amd64", "libc6=2.36-9:amd64"}
    assert {str(one) for one in dpkg.closure(["libc6:i386"])} == {"libc6=2.36-9:i386"}


def test_the_base_is_what_every_such_system_has(root: Path) -> None:
    """Essential and required packages, apt and python3 with what they depend on; not what else is installed."""
    names = {package.name for package in Dpkg(root).base("python3.13")}

    assert names == {"base-files", "libc6", "apt", "gpgv2", "python3", "python3-minimal", "tools"}


def test_an_owner_is_found_by_either_name_of_a_merged_directory(tmp_path: Path) -> None:
    """`/lib` is a link to `/usr/lib`, and dpkg's lists know a file by one name only."""
    root = make_root(tmp_path, {"libc6:amd64": "/lib/libc.so.6\n", "apt": "/usr/lib/libapt.so\n/usr/share/lib/x\n"})
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")

    assert [owner_of(root, f"{top}/libc.so.6") for top in ("/lib", "/usr/lib")] == ["libc6", "libc6"]
    assert [owner_of(root, f"{top}/libapt.so") for top in ("/lib", "/usr/lib")] == ["apt", "apt"]
    assert owner_of(root, "/share/lib/x") == ""


def test_an_owner_is_found_through_alternatives(tmp_path: Path) -> None:
    """A link that no package owns leads to a file that one does, by absolute links inside the root."""
    root = make_root(
        tmp_path, {"libblas3": "/usr/lib/blas/libblas.so.3\n"}, "Package: libblas3\nStatus: x y installed\n"
    )
    (root / "usr/lib/blas").mkdir(parents=True)
    (root / "usr/lib/blas/libblas.so.3").touch()
    (root / "etc/alternatives").mkdir(parents=True)
    (root / "etc/alternatives/blas").symlink_to("/usr/lib/blas/libblas.so.3")
    (root / "usr/lib/libblas.so.3").symlink_to("/etc/alternatives/blas")

    assert owner_of(root, "/usr/lib/libblas.so.3") == "libblas3"
    assert owner_of(root, "/usr/lib/nothing.so") == ""


def test_links_are_followed_inside_the_root(tmp_path: Path) -> None:
    """Neither an absolute link nor `..` leaves the root; a cycle and a dead link are nothing."""
    (tmp_path / "outside").touch()
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").touch()
    for link, goal in {"up": "../../../outside", "absolute": "/a/b/file", "one": "two", "two": "one"}.items():
        (root / link).symlink_to(goal)
    (root / "a/dir").symlink_to("/a/b")

    assert resolve(root, "/absolute") == "/a/b/file"
    assert resolve(root, "/a/dir/../b/./file") == "/a/b/file"
    assert resolve(root, "/../..//a/b") == "/a/b"
    assert [resolve(root, path) for path in ("/up", "/one", "/a/b/file/x", "/none")] == [None] * 4


def test_a_root_without_dpkg_has_no_packages(tmp_path: Path) -> None:
    """Its packages are unknown, which is no error."""
    assert open_dpkg(tmp_path) is None
    assert [*installed_versions(tmp_path), *runtime_closure(tmp_path, ["x"])] == []
    assert owner_of(tmp_path, "/x") == ""


def test_an_unreadable_database_is_an_error_that_names_the_root(tmp_path: Path) -> None:
    """A directory in place of the file is no traceback."""
    (tmp_path / "var/lib/dpkg/status").mkdir(parents=True)
    with pytest.raises(BuildEnvironmentError, match=str(tmp_path)):
        open_dpkg(tmp_path)


def test_a_change_of_the_database_is_seen(root: Path) -> None:
    """Dpkg replaces its status with every change: what was read before does not stand."""
    before = installed_versions(root)
    new = root / "var/lib/dpkg/status-new"
    new.write_text(STATUS.replace("Version: 2.6", "Version: 2.7"))
    new.replace(root / "var/lib/dpkg/status")

    assert set(installed_versions(root)) - set(before) == {"apt=2.7:amd64"}


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="compares with dpkg")
def test_it_reads_what_dpkg_says() -> None:
    """On this host versions, files and owners are those that dpkg-query prints."""

    def ask(*argv: str) -> list[str]:
        done = subprocess.run(["dpkg-query", *argv], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    dpkg = open_dpkg(Path("/"))
    assert dpkg is not None
    shown = ask("-W", "-f", "${db:Status-Status} ${Package}=${Version}:${Architecture}\n")
    whole = ("installed ", "triggers-pending ", "triggers-awaited ")
    assert sorted(installed_versions(Path("/"))) == sorted(
        line.partition(" ")[2] for line in shown if line.startswith(whole)
    )
    assert dpkg.files("libc6") == ask("-L", "libc6")
    assert [package.name for package in dpkg.owners("/usr/bin/dpkg")] == ["dpkg"]

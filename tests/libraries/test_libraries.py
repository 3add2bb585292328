"""Venvs are held to the packages that their hosts will have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from bundler.errors import LibraryMissing
from bundler.events import Event, Warned, ignore
from bundler.model.manifest import AllowedFailure
from bundler.model.target import known_target
from bundler.process import Command, run
from bundler.venvs.libraries import LibraryReport, LibraryRequest, check_libraries
from bundler.venvs.proof_report import LIBRARY, unused
from tests.libraries.conftest import ARCH, FOREIGN, LIBRARIES, Compiler, Shop, foreign, put

pytestmark = pytest.mark.native
MODULE = "_web.cpython-311.so"
Check: TypeAlias = Callable[..., LibraryReport]
Problems: TypeAlias = Callable[..., list[str]]


@pytest.fixture
def check(shop: Shop) -> Check:
    """Return what checks one request."""

    def run(request: LibraryRequest, **changes: Any) -> LibraryReport:
        (report,) = check_libraries([replace(request, **changes)], shop.store)
        return report

    return run


@pytest.fixture
def problems(shop: Shop) -> Problems:
    """Return what checks requests and returns what is wrong, by line."""

    def run(*requests: LibraryRequest) -> list[str]:
        with pytest.raises(LibraryMissing) as caught:
            check_libraries(requests, shop.store)
        return [str(problem) for problem in caught.value.problems]

    return run


def where(package: str) -> str:
    return f"venvs.web on debian-12-{ARCH}: {package} 1.0"


@pytest.fixture
def ldap(cc: Compiler, shop: Shop, root: Path) -> LibraryRequest:
    """Give a venv whose module needs a library that package libldap-2 has; it needs one of libsasl2."""
    sasl = cc.library("libsasl.so.2")
    put(root, {f"{LIBRARIES}/libldap.so.2": cc.library("libldap.so.2", "libsasl.so.2")}, "libldap-2 needs libsasl2")
    put(root, {f"{LIBRARIES}/libsasl.so.2": sasl}, "libsasl2")
    wheel = shop.wheel("ldap", {MODULE: cc.library(MODULE, "libldap.so.2"), "ldap.py": b""})
    return shop.request(root, wheel, host_packages=("libldap-2",))


def test_a_venv_that_names_its_packages_passes(ldap: LibraryRequest, check: Check) -> None:
    """What the named package depends on need not be named; the report says what is used."""
    assert check(ldap) == LibraryReport(
        venv="web", target=f"debian-12-{ARCH}", packages=("libldap-2", "libsasl2"), checks=()
    )


def test_a_package_that_another_venv_has_named_is_not_this_ones(ldap: LibraryRequest, problems: Problems) -> None:
    """The library is there, but this venv's hosts need not have its package: the one to add is named."""
    assert problems(replace(ldap, host_packages=())) == [
        f"{where('ldap')}: {MODULE} needs libldap.so.2 (add libldap-2 to its distro_packages.runtime)"
    ]


def test_a_package_that_only_compiles_is_named(
    ldap: LibraryRequest, problems: Problems, root: Path, tmp_path: Path
) -> None:
    """What only the root that the wheel was built in has is named by its package there."""
    bare = tmp_path / "bare"
    put(bare, {}, "apt")

    assert problems(replace(ldap, root=bare, build_root=root, host_packages=())) == [
        f"{where('ldap')}: {MODULE} needs libldap.so.2 (add libldap-2 to its distro_packages.runtime)"
    ]


def test_a_library_that_nobody_has_is_said_so(ldap: LibraryRequest, problems: Problems, tmp_path: Path) -> None:
    """Neither root has it: there is no package to name. One that is named but not installed is."""
    bare = tmp_path / "bare"
    put(bare, {}, "apt")
    named, nameless = (
        problems(replace(ldap, root=bare, build_root=bare, host_packages=names))[0] for names in (("libldap-2",), ())
    )

    neither = f"{where('ldap')}: {MODULE} needs libldap.so.2; neither the venv nor debian-12-{ARCH} has it"
    accept = "accept it in proof.allow with a reason: entry_point: library:libldap.so.2"
    assert named == f"{neither} (install libldap-2 where it is proved, or {accept})"
    assert nameless == f"{neither} (add the package that has it to distro_packages.runtime, or {accept})"


def test_a_library_that_no_package_owns_does_not_count(
    cc: Compiler, shop: Shop, root: Path, problems: Problems
) -> None:
    """What somebody put onto the build host by hand will not be at the site."""
    put(root, {"/usr/local/lib/libown.so.1": cc.library("libown.so.1"), "/etc/ld.so.conf": b"/usr/local/lib"})
    (found,) = problems(shop.request(root, shop.wheel("own", {MODULE: cc.library(MODULE, "libown.so.1")})))

    assert "needs libown.so.1; /usr/local/lib/libown.so.1 is there, but belongs to no package" in found


def test_a_dependency_that_a_package_forgot_is_found(
    cc: Compiler, shop: Shop, root: Path, problems: Problems
) -> None:
    """The system's libraries are followed too, and the path to what is missing is said."""
    put(root, {f"{LIBRARIES}/libb.so.1": cc.library("libb.so.1")}, "libb1")
    put(root, {f"{LIBRARIES}/liba.so.1": cc.library("liba.so.1", "libb.so.1")}, "liba1")
    wheel = shop.wheel("deep", {MODULE: cc.library(MODULE, "liba.so.1")})

    (found,) = problems(shop.request(root, wheel, host_packages=("liba1",)))
    assert found.startswith(
        f"{where('deep')}: {MODULE}, through {LIBRARIES}/liba.so.1, needs libb.so.1 (add libb1 to"
    )


def test_a_wheel_that_brings_its_libraries_needs_nothing(cc: Compiler, shop: Shop, root: Path, check: Check) -> None:
    """Libraries beside the module, as auditwheel grafts them, and those of another wheel of the venv are found."""
    grafted, other = cc.library("libgraft-1f2e.so.1"), cc.library("libother.so")
    flags = ["-Wl,-rpath,$ORIGIN/../one.libs:$ORIGIN/../two/lib"]
    module = cc.library(MODULE, "libgraft-1f2e.so.1", "libother.so", flags=flags)
    one = shop.wheel("one", {f"one/{MODULE}": module, "one.libs/libgraft-1f2e.so.1": grafted})
    two = shop.wheel("two", {"two/lib/libother.so": other})

    assert check(shop.request(root, one, two)).packages == ()
    with pytest.raises(LibraryMissing, match="1 of 1 venvs need libraries"):
        check(shop.request(root, one))


def test_programs_and_data_files_are_looked_at_where_they_lie(
    cc: Compiler, shop: Shop, root: Path, problems: Problems
) -> None:
    """Scripts and data of a wheel are below the venv's root, and find their libraries from there."""
    library = cc.library("libown.so.1")
    tool = cc.library("tool", "libown.so.1", flags=["-Wl,-rpath,$ORIGIN/../lib/own"])
    lost = cc.library("lost", "libown.so.1", flags=["-Wl,-rpath,$ORIGIN/lib/own"])
    files = {"own-1.0.data/scripts/tool": tool, "own-1.0.data/scripts/lost": lost}
    wheel = shop.wheel("own", {**files, "own-1.0.data/data/lib/own/libown.so.1": library})

    (found,) = problems(shop.request(root, wheel))
    assert f"{where('own')}: bin/lost needs libown.so.1; neither" in found


def test_a_library_is_judged_where_it_is_loaded(cc: Compiler, shop: Shop, root: Path, check: Check) -> None:
    """A library that finds its neighbour only through the module's search path is no problem on its own."""
    cc.library("libb.so.1")
    cc.library("liba.so.1", "libb.so.1")
    module = cc.library(MODULE, "liba.so.1", flags=["-Wl,--disable-new-dtags,-rpath,$ORIGIN/libs"])
    files = {f"libs/{name}": (cc.folder / name).read_bytes() for name in ("liba.so.1", "libb.so.1")}

    check(shop.request(root, shop.wheel("all", {MODULE: module, **files})))
    with pytest.raises(LibraryMissing):
        check(shop.request(root, shop.wheel("libs", files)))


def test_libraries_that_load_each_other_are_judged_too(
    cc: Compiler, shop: Shop, root: Path, problems: Problems
) -> None:
    """A circle that nothing else loads does not escape."""
    flags = ["-Wl,-rpath,$ORIGIN"]
    cc.library("libb.so.1")
    cc.library("libgone.so.1")
    cc.library("liba.so.1", "libb.so.1", flags=flags)
    files = {"liba.so.1": cc.library("liba.so.1", "libb.so.1", flags=flags)}
    files["libb.so.1"] = cc.library("libb.so.1", "liba.so.1", "libgone.so.1", flags=flags)

    (found,) = problems(shop.request(root, shop.wheel("circle", files)))
    assert f"{where('circle')}: libb.so.1 needs libgone.so.1;" in found


def test_a_symbol_version_that_the_target_lacks_is_found(
    cc: Compiler, shop: Shop, root: Path, problems: Problems
) -> None:
    """A module made against a newer library: what is missing, and the version of the package that is there."""
    cc.library("libstdcxx.so.6", versions=["CXX_3"])
    module = cc.library(MODULE, "libstdcxx.so.6")
    put(root, {f"{LIBRARIES}/libstdcxx.so.6": cc.library("libstdcxx.so.6", versions=["CXX_1", "CXX_2"])}, "libcxx6")
    wheel = shop.wheel("newer", {MODULE: module, f"x/{MODULE}": module})

    (found,) = problems(shop.request(root, wheel, host_packages=("libcxx6",)))
    what, _, hint = found.partition(" (")
    what = what.removeprefix(f"{where('newer')}: {MODULE} and another file need ")
    assert what == "CXX_3 of libstdcxx.so.6; libcxx6 1.0-1 does not define that"
    assert hint.startswith("choose a version whose wheel is for an older system, or give one")


def test_everything_is_reported_at_once(cc: Compiler, shop: Shop, root: Path) -> None:
    """All libraries of all venvs, one line for each wheel and library however many files need it."""
    for name in ("liba.so.1", "libb.so.1"):
        cc.library(name)
    both, one = cc.library(MODULE, "liba.so.1", "libb.so.1"), cc.library("x.so", "libb.so.1")
    many = shop.wheel("many", {f"{place}/{MODULE}": both for place in "pqr"} | {"y.so": one})
    few = shop.wheel("few", {"x.so": one})
    with pytest.raises(LibraryMissing) as caught:
        check_libraries(
            [
                shop.request(root, many, few),
                shop.request(root, few, venv="second"),
                shop.request(root, venv="third"),
            ],
            shop.store,
        )

    error = caught.value
    assert (error.message, error.exit_code) == ("2 of 3 venvs need libraries that their hosts will not have", 54)
    assert [(one.where.split(" ")[0], one.what.partition(";")[0]) for one in error.problems] == [
        ("venvs.second", "x.so needs libb.so.1"),
        ("venvs.web", "x.so needs libb.so.1"),
        ("venvs.web", f"p/{MODULE} and 2 other files need liba.so.1"),
        ("venvs.web", f"p/{MODULE} and 3 other files need libb.so.1"),
    ]


def rule(pattern: str, package: str = "") -> AllowedFailure:
    return AllowedFailure(entry_point=pattern, package=package, reason="an optional part")


def test_a_missing_library_can_be_accepted_with_a_reason(
    ldap: LibraryRequest, check: Check, problems: Problems
) -> None:
    """A rule names it after ``library:``; the report carries the reason. A bare pattern is for entry points only."""
    bare = replace(ldap, host_packages=(), allow=(rule("*"), rule("library:*", "other")))
    report = check(bare, allow=(rule("library:libldap.*", "ldap"),))

    assert len(problems(bare)) == 1
    assert [(one.kind, one.name, one.accepted) for one in report.checks] == [
        ("library", "libldap.so.2", "an optional part")
    ]


def test_a_rule_that_accepts_nothing_is_a_warning(ldap: LibraryRequest, shop: Shop) -> None:
    """It would hide a later failure; the proof does not warn of it a second time."""
    seen: list[Event] = []
    rules = (rule(f"{LIBRARY}libgone.so.1"), rule("console-script"))
    check_libraries([replace(ldap, allow=rules), ldap], shop.store, seen.append)

    warnings = [event.message for event in seen if isinstance(event, Warned)]
    assert warnings == ["proof.allow: library:libgone.so.1 covers no missing library"]
    assert unused(rules, []) == (rules[1],)


def test_a_target_of_another_machine_is_no_different(cc: Compiler, shop: Shop, root: Path, check: Check) -> None:
    """Nothing is run: files for another machine are resolved in its root; what is for this machine is payload."""
    library, gone = cc.library("liba.so.1"), cc.library("libgone.so.1")
    module, payload = cc.library(MODULE, "liba.so.1"), cc.library("p.so", "libgone.so.1")
    assert gone
    put(root, {f"/usr/lib/{FOREIGN}-linux-gnu/liba.so.1": foreign(library)}, "liba1")
    put(root, {"/lib/liba.so.1": library})
    wheel = shop.wheel("far", {MODULE: foreign(module), "p.so": payload})
    request = shop.request(root, wheel, target=known_target(f"debian-12-{FOREIGN}"), host_packages=("liba1",))

    assert check(request).packages == ("liba1",)
    with pytest.raises(LibraryMissing):
        check(request, host_packages=())


def test_a_system_without_dpkg_is_asked_for_presence_only(
    cc: Compiler, shop: Shop, tmp_path: Path, check: Check, problems: Problems
) -> None:
    """Whose a library is, nobody says there: being there is enough."""
    library = cc.library("liba.so.1")
    request = shop.request(tmp_path / "other", shop.wheel("web", {MODULE: cc.library(MODULE, "liba.so.1")}))
    put(tmp_path / "other", {"/usr/lib64/liba.so.1": library})

    assert check(request).packages == ()
    (tmp_path / "other/usr/lib64/liba.so.1").unlink()
    assert "needs liba.so.1; neither" in problems(request)[0]


def test_what_a_wheel_needs_is_remembered(ldap: LibraryRequest, shop: Shop, check: Check) -> None:
    """The second time the wheel itself is not read."""
    first = check(ldap)
    shop.store.path(ldap.wheels[0].digest).unlink()

    assert check(ldap) == first


def test_a_file_that_only_begins_like_one_is_passed_over(shop: Shop, root: Path, check: Check) -> None:
    """Damaged ELF files are for the check of wheels to judge."""
    wheel = shop.wheel("odd", {"x.so": b"\x7fELF and no more", "y.so": b"\x7fEL", "empty": b""})

    assert check(shop.request(root, wheel)).checks == ()


def test_this_host_is_a_root_like_any_other(cc: Compiler, shop: Shop, problems: Problems) -> None:
    """With the build host's own root the C library needs no naming, and a compiler's own library does."""
    host = Path("/")
    if not Path(LIBRARIES, "libmpc.so.3").exists() or not Path("/var/lib/dpkg/status").exists():
        pytest.skip("needs a Debian with gcc")
    (cc.folder / "m.c").write_text('#include <stdio.h>\nint m(void) { return puts("m"); }\n')
    flags = ["-Wl,--no-as-needed", "-l:libmpc.so.3"]
    for name, more in (("plain.so", []), ("mpc.so", flags)):
        command = ["cc", "-shared", "-fPIC", "-o", name, "m.c", *more]
        run(Command(argv=command, cwd=cc.folder))
    files = {name: (cc.folder / name).read_bytes() for name in ("plain.so", "mpc.so")}

    assert problems(shop.request(host, shop.wheel("host", files), build_root=host)) == [
        f"{where('host')}: mpc.so needs libmpc.so.3 (add libmpc3 to its distro_packages.runtime)"
    ]
    assert problems(shop.request(host, shop.wheel("host", files), build_root=host, host_packages=("libgmp10",)))
    check_libraries([shop.request(host, shop.wheel("host", files), host_packages=("libmpc3",))], shop.store, ignore)

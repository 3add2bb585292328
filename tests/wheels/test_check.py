"""A wheel is refused for what is wrong with it, and for nothing else."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from bundler.model.target import Target
from bundler.process import Command, run
from bundler.wheels.check import Expected, check_wheel

MakeWheel: TypeAlias = Callable[..., Path]
Files: TypeAlias = dict[str, bytes]
INFO = "demo-1.0.dist-info"


def faults(path: Path, target: Target, name: str = "demo", version: str = "1.0") -> list[str]:
    expected = Expected(filename=path.name, name=name, version=version, target=target)
    return [str(problem) for problem in check_wheel(path, expected)]


def test_a_good_wheel_passes(make_wheel: MakeWheel, target: Target) -> None:
    """Schemes, directories, signatures and non-ASCII names are all right."""

    def sign(archive: zipfile.ZipFile) -> None:
        archive.writestr(f"{INFO}/RECORD.jws", b"{}")
        archive.writestr("demo/empty/", b"")

    files = {
        "demo-1.0.data/scripts/run": b"#!python\n",
        "demo-1.0.data/data/etc/demo.conf": b"",
        "demo/grüße, wörld.txt": "ä".encode(),
        "other.pth": b"import demo\n",
    }

    assert faults(make_wheel(files=files, late=sign), target) == []


def test_names_and_versions_are_compared_normalised(make_wheel: MakeWheel, target: Target) -> None:
    """`My_Demo` 1.0 is the locked my-demo 1.0.0."""
    assert faults(make_wheel("My_Demo", "1.0"), target, "my-demo", "1.0.0") == []


def edit(name: str, data: bytes | None) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        if data is None:
            del files[name]
        else:
            files[name] = data

    return change


def replace_in_record(old: bytes, new: bytes) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        record = files[f"{INFO}/RECORD"]
        assert old in record
        files[f"{INFO}/RECORD"] = record.replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("demo/__init__.py", b"x = 2\n"), "demo/__init__.py: does not have the hash that RECORD gives"),
        (edit("demo/extra.py", b""), "demo/extra.py: is not in RECORD"),
        (edit("demo/__init__.py", None), "demo/__init__.py: is in RECORD and not in the archive"),
        (edit(f"{INFO}/RECORD", None), f"{INFO}/RECORD: is missing"),
        (edit(f"{INFO}/WHEEL", None), f"{INFO}/WHEEL: is missing"),
        (edit(f"{INFO}/METADATA", None), f"{INFO}/METADATA: is missing"),
        (replace_in_record(b",6\n", b",7\n"), "has 6 bytes, RECORD says 7"),
        (replace_in_record(b"sha256=", b"md5="), "has no SHA-256 or stronger hash"),
        (replace_in_record(b'"demo/__init__.py",', b'"demo/__init__.py",x,'), "malformed row"),
        (edit(f"{INFO}/RECORD", b"\xff\xfe"), "RECORD: is no table"),
        (edit("demo-1.0.data/bin/run", b""), "demo-1.0.data/bin/run: is outside the schemes"),
        (edit("demo-1.0.data/loose", b""), "demo-1.0.data/loose: is outside the schemes"),
        (edit("other-1.0.data/data/x", b""), "other-1.0.data: is of another distribution"),
        (edit("other-1.0.dist-info/METADATA", b""), "has 2 .dist-info directories instead of one"),
        (edit("../evil.py", b""), "../evil.py: has a name that leaves the installation directory"),
        (edit("/etc/evil", b""), "/etc/evil: has a name that leaves the installation directory"),
        (edit("demo//x.py", b""), "demo//x.py: has a name that is not normalised"),
        (edit("demo/a\\b.py", b""), "has a name that is not normalised"),
        (edit("demo/a\nb.py", b""), "has control characters in its name"),
        (edit(f"{INFO}/METADATA", b"Metadata-Version: 2.1\nName: demo\nVersion: 2.0\n"), "not the locked demo 1.0"),
        (edit(f"{INFO}/METADATA", b"Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"), "names evil 1.0"),
        (edit(f"{INFO}/WHEEL", b"Wheel-Version: 2.0\nRoot-Is-Purelib: true\n"), "has Wheel-Version '2.0'"),
        (edit(f"{INFO}/WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: maybe\n"), "does not say Root-Is-Purelib"),
    ],
)
def test_each_fault_has_its_message(
    make_wheel: MakeWheel, target: Target, change: Callable[[Files], None], message: str
) -> None:
    """What is wrong is said with the member it concerns."""
    found = faults(make_wheel(change=change), target)

    assert any(message in fault for fault in found), found
    assert all(fault.startswith("demo-1.0-py3-none-any.whl: ") for fault in found)


def test_all_faults_are_reported_together(make_wheel: MakeWheel, target: Target) -> None:
    """Two bad members give two problems."""

    def change(files: Files) -> None:
        files.update({"demo/__init__.py": b"y", "demo/extra.py": b""})

    assert len(faults(make_wheel(change=change), target)) == 2


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice_is_refused(make_wheel: MakeWheel, target: Target) -> None:
    """Two members of one name: which one is installed depends on the installer, so neither."""
    path = make_wheel(late=lambda archive: archive.writestr("demo/__init__.py", b"x = 1\n"))

    assert faults(path, target) == ["demo-1.0-py3-none-any.whl: demo/__init__.py: occurs twice"]


def test_symbolic_links_are_refused(make_wheel: MakeWheel, target: Target) -> None:
    """A wheel holds files and directories only."""

    def link(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo("demo/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")

    assert "demo/link: is neither a file nor a directory" in faults(make_wheel(late=link), target)[0]


@pytest.mark.parametrize(
    "tag",
    ["cp39-cp39-manylinux_2_17_x86_64", "py3-none-win_amd64", "cp27-none-any", "py3-none-manylinux_2_99_x86_64"],
)
def test_a_tag_that_does_not_fit_is_refused(make_wheel: MakeWheel, target: Target, tag: str) -> None:
    """Other Python, other system, too new a glibc by name: refused, saying what the target has."""
    (found,) = faults(make_wheel(tag=tag), target)

    assert f"has no tag that fits {target.name} (Python {target.python.version}" in found


def test_a_wheel_of_another_package_or_version_is_refused(make_wheel: MakeWheel, target: Target) -> None:
    """The file name must be the locked package."""
    path = make_wheel()

    assert faults(path, target, "other") == ["demo-1.0-py3-none-any.whl: is not the locked other 1.0"]
    assert faults(path, target, "demo", "1.1") == ["demo-1.0-py3-none-any.whl: is not the locked demo 1.1"]


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_a_truncated_wheel_is_no_zip_archive(make_wheel: MakeWheel, target: Target, cut: int) -> None:
    """Bytes that are no archive give a problem, not a traceback."""
    path = make_wheel()
    path.write_bytes(path.read_bytes()[:cut])

    assert "is no readable zip archive" in faults(path, target)[0]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small shared library that needs a versioned symbol of glibc."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "x.c").write_text('#include <stdio.h>\nint x(void) { return puts("x"); }\n')
    run(Command(argv=["cc", "-shared", "-fPIC", "-o", "x.so", "x.c"], cwd=folder))
    return (folder / "x.so").read_bytes()


@pytest.mark.native
def test_native_code_that_the_target_can_load_passes(make_wheel: MakeWheel, target: Target, library: bytes) -> None:
    """A library compiled here loads here."""
    tag = f"py3-none-linux_{target.arch}"

    assert faults(make_wheel(tag=tag, files={"demo/x.so": library}), target) == []


@pytest.mark.native
@pytest.mark.parametrize("platform", ["linux_{}", "any"])
def test_native_code_that_needs_a_newer_glibc_is_refused(
    make_wheel: MakeWheel, target: Target, library: bytes, platform: str
) -> None:
    """The symbol versions decide, whatever the wheel's tag says."""
    old = replace(target, glibc=(2, 1))
    tag = f"py3-none-{platform.format(target.arch)}"
    found = faults(make_wheel(tag=tag, files={"demo/x.so": library}), old)

    assert any("demo/x.so: needs glibc 2." in fault and f"{target.name} has 2.1" in fault for fault in found)


@pytest.mark.native
def test_native_code_of_another_machine_is_refused(make_wheel: MakeWheel, target: Target, library: bytes) -> None:
    """An aarch64 library in a wheel that says x86_64; inside a wheel for any platform it is a payload."""
    foreign = library[:18] + (b"\xb7\x00" if target.arch == "x86_64" else b"\x3e\x00") + library[20:]
    tag = f"py3-none-linux_{target.arch}"

    (found,) = faults(make_wheel(tag=tag, files={"demo/x.so": foreign}), target)
    assert "demo/x.so: is compiled for " in found
    assert faults(make_wheel(files={"demo/x.so": foreign}), target) == []


def test_a_damaged_elf_file_is_refused(make_wheel: MakeWheel, target: Target) -> None:
    """Something that starts like ELF and is none is not let through as data."""
    path = make_wheel(tag=f"py3-none-linux_{target.arch}", files={"demo/x.so": b"\x7fELF" + b"\x02" * 100})

    assert "damaged ELF file" in faults(path, target)[0]

"""Source archives are unpacked member by member, and hostile ones refused."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import WheelBuildFailed
from bundler.wheels import sdist
from bundler.wheels.sdist import OLDEST_EPOCH, is_inside, unpack_sdist


def entry(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", data: bytes = b"", mtime: float = 0) -> bytes:
    """Return the bytes of one tar member."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mtime = kind, link, len(data), mtime
    return info.tobuf() + data + b"\0" * (-len(data) % 512)


GOOD = entry("demo-1.0/setup.py", data=b"pass\n", mtime=1_500_000_000)


def tar(path: Path, *members: bytes) -> Path:
    path.write_bytes(b"".join(members) + b"\0" * 1024)
    return path


def test_one_top_level_directory_is_stripped_and_times_are_those_of_the_newest_member(tmp_path: Path) -> None:
    """The tree is what the archive holds, modes and times do not depend on the host."""
    archive = tar(tmp_path / "a", GOOD, entry("demo-1.0/pkg/run.sh", data=b"#!/bin/sh\n", mtime=1_600_000_000))
    old = os.umask(0o077)
    try:
        epoch = unpack_sdist(archive, "demo-1.0.tar.gz", tmp_path / "tree")
    finally:
        os.umask(old)

    assert epoch == 1_600_000_000
    assert (tmp_path / "tree/setup.py").read_bytes() == b"pass\n"
    assert (tmp_path / "tree/setup.py").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "tree/pkg/run.sh").stat().st_mtime == 1_600_000_000


def test_times_outside_what_zip_can_hold_are_not_believed(tmp_path: Path) -> None:
    """An archive of 1970, or of the year 9999, is dated 1980."""
    archive = tar(tmp_path / "a", entry("d/setup.py", mtime=1), entry("d/x", mtime=253402300799 * 9))

    assert unpack_sdist(archive, "d.tar.gz", tmp_path / "tree") == OLDEST_EPOCH


def test_links_inside_the_archive_are_kept(tmp_path: Path) -> None:
    """A symbolic link that stays inside works; a hard link becomes a copy."""
    archive = tar(
        tmp_path / "a",
        GOOD,
        entry("demo-1.0/docs/link", tarfile.SYMTYPE, link="../setup.py"),
        entry("demo-1.0/copy.py", tarfile.LNKTYPE, link="demo-1.0/setup.py"),
    )
    unpack_sdist(archive, "demo-1.0.tar.gz", tmp_path / "tree")

    assert (tmp_path / "tree/docs/link").read_bytes() == b"pass\n"
    assert (tmp_path / "tree/copy.py").stat().st_nlink == 1


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (entry("../evil", data=b"x"), "leaves the archive"),
        (entry("/etc/evil", data=b"x"), "leaves the archive"),
        (entry("demo-1.0/../../evil"), "leaves the archive"),
        (entry("demo-1.0/a\\b"), "leaves the archive"),
        (entry("demo-1.0/a\nb"), "leaves the archive"),
        (entry("demo-1.0/dev", tarfile.CHRTYPE), "neither a file"),
        (entry("demo-1.0/pipe", tarfile.FIFOTYPE), "neither a file"),
        (entry("demo-1.0/out", tarfile.SYMTYPE, link="../../../etc/passwd"), "outside the archive"),
        (entry("demo-1.0/out", tarfile.SYMTYPE, link="/etc/passwd"), "outside the archive"),
        (entry("demo-1.0/hard", tarfile.LNKTYPE, link="demo-1.0/absent"), "no earlier file"),
        (entry("demo-1.0/hard", tarfile.LNKTYPE, link="../../etc/passwd"), "leaves the archive"),
        (
            entry("demo-1.0/d", tarfile.SYMTYPE, link="..") + entry("demo-1.0/d/evil", data=b"x"),
            "behind a symbolic link",
        ),
        (
            entry("demo-1.0/a/l", tarfile.SYMTYPE, link=".")
            + entry("demo-1.0/out", tarfile.SYMTYPE, link="a/l/../../.."),
            "outside the archive",
        ),
        (entry("demo-1.0/setup.py/evil", data=b"x"), "cannot be written"),
    ],
)
def test_hostile_members_are_refused_by_name(tmp_path: Path, member: bytes, message: str) -> None:
    """Traversal, devices, links that lead out, files behind links: refused, and nothing is written outside."""
    folder = tmp_path / "inner"
    folder.mkdir()
    archive = tar(tmp_path / "a", GOOD, member)

    with pytest.raises(WheelBuildFailed, match=message):
        unpack_sdist(archive, "demo-1.0.tar.gz", folder / "tree")
    assert not (tmp_path / "evil").exists()
    assert not (folder / "evil").exists()


def test_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unpacked size is bounded."""
    monkeypatch.setattr(sdist, "MAX_BYTES", 100)
    archive = tar(tmp_path / "a", GOOD, entry("demo-1.0/big", data=b"x" * 101))

    with pytest.raises(WheelBuildFailed, match="exceeds"):
        unpack_sdist(archive, "demo-1.0.tar.gz", tmp_path / "tree")


@pytest.mark.parametrize("name", ["demo-1.0.tar.gz", "demo-1.0.zip"])
def test_rubbish_is_no_archive(tmp_path: Path, name: str) -> None:
    """Bytes that are no archive end in an error of ours that names the file."""
    (tmp_path / "a").write_bytes(b"rubbish" * 100)

    with pytest.raises(WheelBuildFailed, match="no readable source archive"):
        unpack_sdist(tmp_path / "a", name, tmp_path / "tree")


def test_an_archive_without_one_top_level_directory_is_refused(tmp_path: Path) -> None:
    """PEP 625 wants one directory; two are an error, not a guess."""
    archive = tar(tmp_path / "a", entry("a/x"), entry("b/y"))

    with pytest.raises(WheelBuildFailed, match="2 top-level entries"):
        unpack_sdist(archive, "demo-1.0.tar.gz", tmp_path / "tree")


def test_zip_archives_are_unpacked_too(tmp_path: Path) -> None:
    """Old sdists are zip files; their times count as UTC and executables stay executable."""
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        info = zipfile.ZipInfo("demo-1.0/setup.py", (2020, 1, 2, 0, 0, 0))
        info.external_attr = 0o100755 << 16
        archive.writestr(info, "pass\n")

    assert unpack_sdist(tmp_path / "a", "demo-1.0.zip", tmp_path / "tree") == 1_577_923_200
    assert (tmp_path / "tree/setup.py").stat().st_mode & 0o777 == 0o755


@given(st.text(min_size=1, max_size=40), st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE]))
def test_no_member_name_writes_outside(tmp_path_factory: pytest.TempPathFactory, name: str, kind: bytes) -> None:
    """Whatever a member is called, it lands inside the tree or is refused."""
    folder = tmp_path_factory.mktemp("any")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, member_kind in (("demo-1.0/setup.py", tarfile.REGTYPE), (name, kind)):
            info = tarfile.TarInfo(member)
            info.type, info.linkname = member_kind, name
            try:
                archive.addfile(info)
            except (UnicodeError, ValueError):
                return
    (folder / "a").write_bytes(data.getvalue())
    with contextlib.suppress(WheelBuildFailed):
        unpack_sdist(folder / "a", "demo-1.0.tar.gz", folder / "work")

    assert {path.name for path in folder.iterdir()} <= {"a", "work", "work.unpacking"}
    for path in folder.rglob("*"):
        assert is_inside(path, folder)

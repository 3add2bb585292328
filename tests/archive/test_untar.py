"""The strict reader: what it takes, and everything that it does not."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.archive.tar import END, TarEntry, file_of, header, padding, segment
from bundler.archive.untar import index, members
from bundler.errors import FormatError, IntegrityError

LONG = "/".join(["a-rather-long-directory-name"] * 9) + "/and-a-file.py"
GOOD = b"".join(segment([file_of("a", b"1"), TarEntry(path="l", kind="link", target="a"), file_of(LONG, b"x" * 700)]))


def read(data: bytes, *, ended: bool = False) -> dict[str, bytes]:
    """Return the members of a tar of ours."""
    return {entry.path: b"".join(content) for entry, content in members([data], ended=ended)}


def look(data: bytes) -> dict[str, TarEntry]:
    """Return the members of a stock tar."""
    return {entry.path: entry for entry, _ in index(io.BytesIO(data), len(data))}


READERS: list[Callable[[bytes], object]] = [read, look]


def changed(kind: bytes = b"0", size: int = 0, name: str = "thing", **fields: int) -> bytes:
    """Return the header of a member, changed where the keywords say, with its checksum right."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def resum(block: bytes, position: int, value: bytes) -> bytes:
    """Return a header with bytes put in and its checksum made right again."""
    block = block[:position] + value + block[position + len(value) :]
    total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    return block[:148] + b"%06o\0 " % total + block[156:]


def long_name(data: bytes, kind: bytes = tarfile.GNUTYPE_LONGNAME) -> bytes:
    """Return the header and content of a long name."""
    return changed(kind, len(data), "././@LongLink") + data + padding(len(data))


def test_every_truncation_inside_a_member_is_refused() -> None:
    """A segment that ends inside a header, a long name or a file is refused; a whole tar may end nowhere else."""
    entries = [file_of(LONG, b"x" * 700), file_of("b", b"")]
    data = b"".join(segment(entries))
    first = len(b"".join(segment(entries[:1])))

    for length in range(0, len(data), 128):
        with pytest.raises(IntegrityError):
            read(data[:length], ended=True)
        with pytest.raises(IntegrityError):
            look(data[:length])
        if length not in (0, first):
            with pytest.raises(IntegrityError):
                read(data[:length])


@pytest.mark.parametrize("reader", READERS)
def test_damage_in_the_middle_is_not_taken_for_the_end(reader: Callable[[bytes], object]) -> None:
    """A header that does not parse is an error wherever it stands."""
    data = b"".join(segment([file_of("a", b"1"), file_of("b", b"2")]))

    with pytest.raises(IntegrityError, match="damaged"):
        reader(data[:1024] + b"?" * 512 + data[1536:] + END)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("end", "why"),
    [(END + b"!", "follow the end"), (bytes(1024) + b"!", "follow the end"), (bytes(512), "end mark"),
     (bytes(1023), "end mark"), (bytes(512) + b"!" * 512, "end mark")],
)  # fmt: skip
def test_bytes_after_the_end_are_refused(reader: Callable[[bytes], object], end: bytes, why: str) -> None:
    """The end is two blocks of zeros, and after it there is nothing but zeros."""
    with pytest.raises(IntegrityError, match=why):
        reader(GOOD + end)


def test_bytes_after_a_content_are_refused() -> None:
    """What fills a member's last block is zeros: nothing can hide there."""
    with pytest.raises(IntegrityError, match="bytes follow the content of 'a'"):
        read(GOOD[:513] + b"!" + GOOD[514:])


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "kind",
    [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE],
)
def test_members_of_other_kinds_are_refused(reader: Callable[[bytes], object], kind: bytes) -> None:
    """Hard links, devices, pipes and sparse files are never accepted."""
    with pytest.raises(FormatError, match="neither a file nor"):
        reader(changed(kind) + END)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "data",
    [
        changed(tarfile.SYMTYPE, 512) + bytes(512),
        changed(tarfile.DIRTYPE, 512) + bytes(512),
        changed(name=""),
        long_name(b"x\0", tarfile.GNUTYPE_LONGLINK) + changed(),
        long_name(b"x\0") * 2 + changed(),
        long_name(b"x\0y\0") + changed(),
        long_name(b"xy") + changed(),
        long_name(b"") + changed(),
        long_name(b"x" * 4097 + b"\0") + changed(),
        long_name(b"x\0"),
        long_name(b"\xff\0") + changed(),
        resum(changed(), 0, b"\xff"),
        resum(changed(), 124, b"\xff" * 12),
        resum(changed(), 124, b"-0000000001\0"),
        resum(changed(), 124, b"0o000000007\0"),
        resum(changed(), 124, b"\x80" + b"\xff" * 11),
    ],
    ids=["link with content", "directory with content", "no name", "link text of a file", "two names", "two in one",
         "name without end", "empty name", "too long", "name of nothing", "long name not UTF-8", "name not UTF-8",
         "negative size", "signed size", "size with a prefix", "size of 2**88"],
)  # fmt: skip
def test_hostile_headers_are_refused(reader: Callable[[bytes], object], data: bytes) -> None:
    """Headers that tars read differently, or that want much memory, are not read at all."""
    with pytest.raises((FormatError, IntegrityError)):
        reader(data + END)


def test_headers_that_are_none_of_ours_are_refused_in_our_tars() -> None:
    """Set-user-id modes, other tars' forms and pax headers occur on a foreign medium only."""
    theirs = [
        changed(mode=0o4755),
        tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT),
        resum(changed(), 156, b"\0"),
        _pax({"mtime": "1.5"}) + changed(),
    ]

    for data in theirs:
        assert len(look(data + END)) == 1
        with pytest.raises(FormatError):
            read(data + END)


def _pax(records: dict[str, str]) -> bytes:
    info = tarfile.TarInfo("x")
    info.pax_headers = records
    return info.tobuf(tarfile.PAX_FORMAT)[:-512]


@pytest.mark.parametrize("key", ["path", "linkpath", "size", "GNU.sparse.size", "hdrcharset"])
def test_pax_headers_that_rename_or_resize_are_refused(key: str) -> None:
    """No reader can take such a member for another one."""
    with pytest.raises(FormatError, match="renames or resizes"):
        look(_pax({key: "7"}) + changed() + END)


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar"])
def test_what_stock_tar_writes_is_indexed(tmp_path: Path, form: str) -> None:
    """Plain and non-ASCII names, links, directories and empty files are found at their offsets."""
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d" / "é.txt").write_bytes(b"content")
    (tree / "empty").touch()
    (tree / "link").symlink_to("empty")
    command = ["tar", f"--format={form}", "-C", str(tree), "-cf", "-", "."]
    data = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout

    found = {entry.path: (entry.kind, entry.target, offset) for entry, offset in index(io.BytesIO(data), len(data))}

    assert {path: kind for path, (kind, _, _) in found.items()} == {
        ".": "directory", "./d": "directory", "./d/é.txt": "file", "./empty": "file", "./link": "link",
    }  # fmt: skip
    assert found["./link"][1] == "empty"
    offset = found["./d/é.txt"][2]
    assert data[offset : offset + 7] == b"content"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_and_links_of_other_tars_are_read(form: Literal[0, 1]) -> None:
    """Long names are put together from a ustar prefix or a GNU long name."""
    name = "d" * 80 + "/" + "e" * 60
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "t" * 90
    data = tarfile.TarInfo(name).tobuf(form) + link.tobuf(form) + END

    found = look(data)

    assert set(found) == {name, "link"}
    assert found["link"].target == "t" * 90


def test_contents_of_a_medium_are_not_read() -> None:
    """An index costs the headers, however large the members are."""

    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    data = b"".join(segment([file_of("big", bytes(1 << 24))])) + END
    file = Counting(data)

    assert [entry.size for entry, _ in index(file, len(data))] == [1 << 24]
    assert file.taken <= 512 + len(END)


@given(st.binary(max_size=2000), st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(noise: bytes, position: int, value: int) -> None:
    """Noise, and a good tar with any byte changed, raise nothing but our errors."""
    good = GOOD[:position] + bytes([value]) + GOOD[position + 1 :] + END
    for data in (noise, good):
        for reader in READERS:
            with contextlib.suppress(FormatError, IntegrityError):
                reader(data)


@given(st.lists(st.integers(1, 3000), max_size=8))
def test_pieces_may_be_of_any_length(lengths: list[int]) -> None:
    """What is read does not depend on how the bytes arrive."""
    rest = io.BytesIO(GOOD + END)
    pieces = [*(rest.read(length) for length in lengths), rest.read()]
    found = {entry.path: b"".join(content) for entry, content in members(filter(None, pieces), ended=True)}

    assert found == read(GOOD)


def test_contents_that_are_not_read_are_skipped() -> None:
    """Taking only the names goes on at the next member."""
    assert [entry.path for entry, _ in members([GOOD])] == ["a", "l", LONG]
    assert len(header(file_of(LONG, b""))) == 1536

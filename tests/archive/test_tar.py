"""Deterministic tar segments, and what reads them back."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.archive.compress import compress_frame
from bundler.archive.extract import Extraction, checked_link, checked_path
from bundler.archive.tar import END, TarEntry, file_of, header, header_size, segment, segment_size, with_directories
from bundler.archive.untar import members
from bundler.errors import FormatError, IntegrityError

LONG = "/".join(["a-rather-long-directory-name"] * 9) + "/and-a-file.py"
ODD = [
    "lib/py/größe.txt",
    "lib/日本語/データ.txt",
    "with space/and'quote",
    LONG,
    "x" * 100,
    "x" * 101,
    "d/" + "é" * 60,
]
NAMES = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=60)
PATHS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=6).map("/".join)
TREES = st.dictionaries(PATHS, st.binary(max_size=1500), max_size=8)


def _bytes(entries: Iterable[TarEntry]) -> bytes:
    return b"".join(segment(with_directories(entries)))


def _tree(root: Path) -> dict[str, bytes | str]:
    return {
        path.relative_to(root).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def _no_prefixes(tree: dict[str, bytes]) -> bool:
    return not any(other.startswith(f"{path}/") for path in tree for other in tree)


@given(TREES.filter(_no_prefixes))
def test_a_segment_comes_back_as_it_went_in(tree: dict[str, bytes]) -> None:
    """Any names and contents survive the way through a segment."""
    data = _bytes(file_of(path, content) for path, content in tree.items())

    found = {entry.path: b"".join(content) for entry, content in members([data]) if entry.kind == "file"}
    assert found == tree


@given(TREES.filter(_no_prefixes))
def test_python_reads_a_segment_as_we_do(tree: dict[str, bytes]) -> None:
    """Another reader finds the same names and contents."""
    data = _bytes(file_of(path, content) for path, content in tree.items()) + END
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {info.name: file.read() for info in archive if info.isreg() and (file := archive.extractfile(info))}

    assert found == tree


@settings(max_examples=25, deadline=None)
@given(st.lists(TREES.filter(_no_prefixes), min_size=1, max_size=3))
def test_frames_of_segments_are_one_archive_to_stock_tar(
    tmp_path_factory: pytest.TempPathFactory, trees: list[dict[str, bytes]]
) -> None:
    """Any trees, each in a frame of its own, come out of ``tar --zstd`` as they went in."""
    root = tmp_path_factory.mktemp("tree")
    named = [{f"{number}/{path}": data for path, data in tree.items()} for number, tree in enumerate(trees)]
    segments = [_bytes(file_of(path, data) for path, data in tree.items()) for tree in named]
    frames = b"".join(piece for data in (*segments, END) for piece in compress_frame([data], len(data)))

    subprocess.run(["tar", "--zstd", "-xf", "-", "-C", str(root)], input=frames, check=True, timeout=60)

    assert _tree(root) == {path: data for tree in named for path, data in tree.items()}


@given(PATHS, PATHS, st.sampled_from(["file", "directory", "link"]))
def test_a_header_has_the_size_that_is_reckoned_with(path: str, target: str, kind: str) -> None:
    """The size of a segment is known without making it."""
    entry = TarEntry(path=path, kind=kind, target=target if kind == "link" else "")  # type: ignore[arg-type]

    assert header_size(entry) == len(header(entry))


def test_a_segment_has_fixed_owner_time_and_modes() -> None:
    """Nothing of the host that wrote it is in a segment."""
    entries = [
        file_of("bin/run", b"x", executable=True),
        file_of("a.txt", b""),
        TarEntry(path="l", kind="link", target="a"),
    ]
    with tarfile.open(fileobj=io.BytesIO(_bytes(entries))) as archive:
        infos = list(archive)

    assert [(info.name, oct(info.mode)) for info in infos] == [
        ("a.txt", "0o644"),
        ("bin", "0o755"),
        ("bin/run", "0o755"),
        ("l", "0o777"),
    ]
    assert {(info.uid, info.gid, info.uname, info.gname, info.mtime) for info in infos} == {(0, 0, "", "", 315532800)}


def test_the_order_of_the_entries_makes_no_difference() -> None:
    """A segment is sorted by the bytes of its names, each directory before what it holds."""
    entries = [file_of(path, b"") for path in ("a/b", "a-b", "a/b.c/d", "B", "é", "z")]
    names = [entry.path for entry in with_directories(entries)]

    assert names == ["B", "a", "a-b", "a/b", "a/b.c", "a/b.c/d", "z", "é"]
    assert _bytes(entries) == _bytes(reversed(entries))


def test_a_segment_is_whole_blocks_of_the_size_promised() -> None:
    """Segments can be concatenated, and their frame knows the size beforehand."""
    entries = with_directories(file_of(path, path.encode()) for path in ODD)
    data = b"".join(segment(entries))

    assert len(data) == segment_size(entries)
    assert len(data) % 512 == 0


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX"])
def test_stock_tar_unpacks_concatenated_segments_in_any_locale(tmp_path: Path, locale: str) -> None:
    """Two segments and the end are one archive to tar; odd names come out as the same bytes."""
    one = _bytes([file_of(path, path.encode()) for path in ODD[:3]])
    two = _bytes([file_of(path, path.encode()) for path in ODD[3:]] + [TarEntry(path="l", kind="link", target=LONG)])

    command = ["tar", "-xf", "-", "-C", str(tmp_path)]
    subprocess.run(command, input=one + two + END, check=True, env={"LC_ALL": locale, "PATH": "/usr/bin:/bin"})

    assert _tree(tmp_path) == {**{path: path.encode() for path in ODD}, "l": LONG}


@pytest.mark.parametrize("entry", [file_of("f\udcff", b""), TarEntry(path="l", kind="link", target="\udcff")])
def test_names_that_are_not_unicode_are_refused(entry: TarEntry) -> None:
    """No tar of ours has a name that is not UTF-8: reading refuses it too."""
    with pytest.raises(FormatError, match="not Unicode"):
        header(entry)


@pytest.mark.parametrize("data", [b"123", b"12345"])
def test_a_file_that_changed_while_it_was_read_is_refused(data: bytes) -> None:
    """A segment never holds another size than its header says."""
    with pytest.raises(IntegrityError, match="instead of 4"):
        list(segment([TarEntry(path="f", size=4, read=lambda: (data,))]))


def test_a_big_file_is_streamed() -> None:
    """A file passes piece by piece; no piece is longer than the source's."""
    entry = TarEntry(path="big", size=64 << 20, read=lambda: (bytes(1 << 16) for _ in range(1024)))

    assert max(map(len, segment([entry]))) == 1 << 16


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/.", "a\0b", "a/"])
def test_paths_that_leave_or_are_not_plain_are_refused(path: str) -> None:
    """Only plain relative paths become files."""
    with pytest.raises(IntegrityError):
        checked_path(path)


@pytest.mark.parametrize("target", ["/etc", "../../x", "", "a/../../../x", "b\0"])
def test_links_that_point_outside_are_refused(target: str) -> None:
    """A link stays below the root, unless it is listed."""
    with pytest.raises(IntegrityError):
        checked_link("bin/python", target, {"bin/other": "/etc"})


def test_a_listed_absolute_link_is_accepted_for_its_path_only(tmp_path: Path) -> None:
    """The interpreter's link is absolute, and that very link only."""
    data = _bytes([TarEntry(path="bin/python", kind="link", target="/usr/bin/python3")])
    extraction = Extraction(tmp_path / "one", absolute={"bin/python": "/usr/bin/python3"})
    extraction.add([data])
    extraction.finish()

    assert _tree(tmp_path / "one") == {"bin/python": "/usr/bin/python3"}
    with pytest.raises(IntegrityError, match="points outside"):
        Extraction(tmp_path / "two", absolute={"bin/sh": "/usr/bin/python3"}).add([data])


def test_a_member_is_never_written_through_a_link(tmp_path: Path) -> None:
    """A file below a link of the same archive does not land where the link points."""
    outside = tmp_path / "outside"
    outside.mkdir()
    data = b"".join(segment([TarEntry(path="d", kind="link", target="e"), file_of("d/f", b"x")]))
    extraction = Extraction(tmp_path / "root")
    extraction.add([data])

    with pytest.raises(IntegrityError, match="cannot be made"):
        extraction.finish()
    assert not (tmp_path / "root/e").exists()


def test_the_later_segment_wins_whatever_the_timing(tmp_path: Path) -> None:
    """Where two segments hold a path, the later one's file stays, as with a sequential unpack."""
    first, second = _bytes([file_of("same", b"first")]), _bytes([file_of("same", b"second")])
    for name, order in (("forward", [(first, 0), (second, 1)]), ("backward", [(second, 1), (first, 0)])):
        extraction = Extraction(tmp_path / name)
        for data, number in order:
            extraction.add([data], number)

        assert _tree(tmp_path / name) == {"same": b"second"}


@pytest.mark.parametrize("order", [("x", "x/y"), ("x/y", "x")])
def test_a_path_that_is_file_and_directory_is_refused(tmp_path: Path, order: tuple[str, str]) -> None:
    """Two segments that disagree on what a path is cannot both be written."""
    extraction = Extraction(tmp_path / "root")
    extraction.add([_bytes([file_of(order[0], b"")])], 0)

    with pytest.raises(IntegrityError):
        extraction.add([_bytes([file_of(order[1], b"")])], 1)


def test_modes_and_times_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    """What is unpacked has the modes of the archive."""
    root = tmp_path / "root"
    extraction = Extraction(root)
    extraction.add([_bytes([file_of("bin/run", b"", executable=True), file_of("a", b"")])])

    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in root.rglob("*")}
    assert modes == {"bin": "0o755", "run": "0o755", "a": "0o644"}
    assert {path.stat().st_mtime for path in root.rglob("*") if path.is_file()} == {315532800.0}


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    """Files are only ever put into a fresh directory, where no link can lie in wait."""
    (tmp_path / "there").write_bytes(b"")

    with pytest.raises(IntegrityError, match="not empty"):
        Extraction(tmp_path)

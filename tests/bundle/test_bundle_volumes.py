"""Volumes and the tar they are made of: stock tar, offsets, limits, damage."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.bundle.layout import LinkMember, VolumeGroup, parse_volume_size, plan_groups
from bundler.bundle.reader import decode_blob
from bundler.bundle.volumes import BlobSource, WrittenVolume, write_volumes
from bundler.errors import IntegrityError, SpaceError, UsageError
from bundler.model.contents import FileEntry, LinkEntry


def pack(
    blobs: Mapping[str, bytes], into: Path, *, links: tuple[LinkMember, ...] = (), limit: int | None = None
) -> tuple[WrittenVolume, ...]:
    group = VolumeGroup(target="", blobs=tuple(blobs), links=links)
    source = BlobSource(
        open=lambda digest: io.BytesIO(blobs[digest]),
        sizes={digest: len(data) for digest, data in blobs.items()},
        compressed=frozenset(),
    )
    return write_volumes([group], source, into, limit, lambda _size: None)


def named(sampler: Any, *pieces: bytes) -> dict[str, bytes]:
    sample = sampler()
    sample.blobs.clear()
    for piece in pieces:
        sample.blob(piece)
    return dict(sample.blobs)


def unpack(volumes: tuple[WrittenVolume, ...], directory: Path, into: Path) -> None:
    into.mkdir()
    for volume in volumes:
        subprocess.run(["tar", "--zstd", "-xf", directory / volume.entry.name, "-C", into], check=True, timeout=60)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=8), st.integers(4000, 9000))
def test_stock_tar_unpacks_every_volume(tmp_path_factory: Any, pieces: list[bytes], limit: int) -> None:
    """Any blobs, split over volumes of any size, come out of stock tar as they went in, and by offset too."""
    blobs = {hashlib.sha256(piece).hexdigest(): piece for piece in pieces}
    directory = tmp_path_factory.mktemp("volumes")

    volumes = pack(blobs, directory, limit=limit)

    unpack(volumes, directory, directory / "out")
    assert {path.name: path.read_bytes() for path in (directory / "out").glob("blobs/*")} == blobs
    for volume in volumes:
        data = (directory / volume.entry.name).read_bytes()
        assert len(data) == volume.entry.size <= limit
        assert hashlib.sha256(data).hexdigest() == volume.sha256
        for blob in volume.entry.blobs:
            frame = data[blob.offset : blob.offset + blob.length]
            assert zstandard.get_frame_parameters(frame).content_size == blob.size
            assert zstandard.ZstdDecompressor().decompress(frame) == blobs[blob.sha256]


def test_links_show_files_at_their_paths(tmp_path: Path, sampler: Callable[..., Any]) -> None:
    """After a stock unpack of common and target volumes, a file's path leads to its blob, however long it is."""
    sample = sampler()
    sample.file(f"os-releases/{'d' * 90}/{'e' * 90}/x.txt", [b"deep"], "debian-12-x86_64")
    groups = plan_groups(sample.files, sample.links)
    source = BlobSource(
        open=sample.open,
        sizes={digest: len(data) for digest, data in sample.blobs.items()},
        compressed=frozenset(),
    )

    volumes = write_volumes(groups, source, tmp_path, None, lambda _size: None)

    assert [volume.entry.name for volume in volumes] == [
        "common-001.tar.zst", "debian-12-x86_64-001.tar.zst", "ubuntu-24.04-x86_64-001.tar.zst",
    ]  # fmt: skip
    unpack(volumes, tmp_path, tmp_path / "out")
    for file in sample.files:
        if len(file.blobs) == 1:
            assert (tmp_path / "out" / file.path).read_bytes() == sample.blobs[file.blobs[0]]
    for link in sample.links:
        assert (tmp_path / "out" / link.path).read_bytes() == b"six==1.17\n"


def test_a_blob_of_two_targets_is_carried_once(sampler: Callable[..., Any]) -> None:
    """What two targets need is common, what one needs is its own; a target without blobs still gets its links."""
    one = FileEntry(path="b/x", size=1, sha256="1" * 64, mode=0o644, targets=("a-1-x",), blobs=("1" * 64,))
    two = dataclasses.replace(one, path="c/x", targets=("b-1-x",))

    groups = plan_groups([two, one], [LinkEntry(path="l", to="b", targets=("a-1-x", "b-1-x"))])

    assert [(group.target, group.blobs) for group in groups] == [("", ("1" * 64,)), ("a-1-x", ()), ("b-1-x", ())]
    assert groups[1].links == (LinkMember(path="b/x", to="../blobs/" + "1" * 64),)
    assert groups[0].links == (LinkMember(path="l", to="b"),)


def test_a_blob_that_does_not_fit_is_named(tmp_path: Path, sampler: Callable[..., Any]) -> None:
    """The error names blob and limit and says what to choose; that size is then enough; nothing is left behind."""
    noise = next(iter(sampler().blobs.values()))
    blobs = named(sampler, b"small", noise, noise * 2 + b"x")

    with pytest.raises(SpaceError, match="does not fit into a volume of 9000 bytes") as caught:
        pack(blobs, tmp_path, limit=9000)

    enough = int(caught.value.hint.split()[2])
    assert [path.name for path in tmp_path.iterdir()] == ["common-001.tar.zst"]
    volumes = pack(blobs, tmp_path, limit=enough)
    assert all(volume.entry.size <= enough for volume in volumes)


def test_links_that_do_not_fit_get_a_volume(tmp_path: Path, sampler: Callable[..., Any]) -> None:
    """Where the last volume has no room for the links, they get one of their own."""
    noise = next(iter(sampler().blobs.values()))
    blobs = named(sampler, noise)
    only = pack(blobs, tmp_path)[0].entry.size
    links = tuple(LinkMember(path=f"p/{n:03d}", to=f"../blobs/{n:064d}") for n in range(100))

    volumes = pack(blobs, tmp_path, links=links, limit=only + 100)

    assert [len(volume.entry.blobs) for volume in volumes] == [1, 0]
    unpack(volumes, tmp_path, tmp_path / "out")
    assert len(list((tmp_path / "out" / "p").iterdir())) == 100
    with pytest.raises(SpaceError, match="volume size 200"):
        pack({}, tmp_path / "other", links=links, limit=200)


def test_a_damaged_source_blob_is_refused(tmp_path: Path) -> None:
    """A store that hands out other bytes than the digest says is found out; no volume appears."""
    with pytest.raises(IntegrityError, match=r"a{64} is damaged"):
        pack({"a" * 64: b"something else"}, tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [b"", b"12345678", b"1234567890", b"123456780"])
def test_a_blob_of_another_content_is_refused(tmp_path: Path, sampler: Callable[..., Any], wrong: bytes) -> None:
    """Decoding is bounded by the signed size and ends in an error where the content differs."""
    blobs = named(sampler, b"123456789")
    volume = pack(blobs, tmp_path)[0].entry
    frame = zstandard.ZstdCompressor().compress(wrong)
    entry = dataclasses.replace(volume.blobs[0], length=len(frame))

    with pytest.raises(IntegrityError, match="is damaged"):
        b"".join(decode_blob(io.BytesIO(frame), entry))


def test_a_bomb_stops_at_the_signed_size(tmp_path: Path, sampler: Callable[..., Any]) -> None:
    """A frame that decodes to far more than its blob is not decoded further."""
    volume = pack(named(sampler, b"123456789"), tmp_path)[0].entry
    frame = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    entry = dataclasses.replace(volume.blobs[0], length=len(frame))
    taken = io.BytesIO()

    with pytest.raises(IntegrityError):
        taken.writelines(decode_blob(io.BytesIO(frame), entry))

    assert taken.tell() <= 10


@pytest.mark.parametrize("keep", [-1, 20, 0])
def test_a_cut_off_frame_is_refused(tmp_path: Path, sampler: Callable[..., Any], keep: int) -> None:
    """A truncated stream, which zstandard itself accepts, is refused."""
    volume = pack(named(sampler, b"123456789" * 5000), tmp_path)[0]
    blob = volume.entry.blobs[0]
    data = (tmp_path / volume.entry.name).read_bytes()[blob.offset : blob.offset + blob.length]

    with pytest.raises(IntegrityError, match="is damaged"):
        b"".join(decode_blob(io.BytesIO(data[:keep]), blob))


@pytest.mark.parametrize(
    ("text", "size"),
    [("", None), ("fat32", 4294967295), ("DVD", 4_700_000_000), ("700M", 734003200),
     ("2GiB", 2 << 30), ("1GB", 10**9), ("1000", 1000)],
)  # fmt: skip
def test_volume_sizes(text: str, size: int | None) -> None:
    """Media have names; other sizes are bytes with the usual suffixes."""
    assert parse_volume_size(text) == size


@pytest.mark.parametrize("text", ["0", "-1", "M", "1.5G", "floppy", "1 000"])
def test_senseless_volume_sizes_are_refused(text: str) -> None:
    """Anything else is a mistake of the user."""
    with pytest.raises(UsageError):
        parse_volume_size(text)

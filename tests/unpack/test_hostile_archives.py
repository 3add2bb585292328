"""Archives that are damaged, swapped or made to reach outside: refused, and nothing of them stays."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
import zstandard

from bundler.archive.tar import TarEntry, file_of
from bundler.deploy.frames_walk import walk_frames
from bundler.deploy.venv_archive import file_archive
from bundler.errors import BundleError, IntegrityError
from tests.unpack.conftest import END_FRAME, SHARED, SITE, Host, archive_of, frame, layer, link, own_frame

OTHER = layer({"other.py": "z = 3\n"})


def walk(path: Path, data: bytes) -> tuple[list[str], str]:
    path.write_bytes(data)
    with path.open("rb") as file:
        frames, whole = walk_frames(file)
    return [one.sha256 for one in frames], whole


def test_frames_are_found_without_decoding(tmp_path: Path) -> None:
    """Raw, repeated and compressed blocks, with and without checksum: each frame has the digest of its bytes."""
    contents = [b"", b"x", bytes(1 << 20), os.urandom(300_000), b"abc" * 200_000]
    frames = [
        zstandard.ZstdCompressor(level=level, write_checksum=checksum).compress(data)
        for data in contents
        for level in (1, 19)
        for checksum in (True, False)
    ]

    found, whole = walk(tmp_path / "x", b"".join(frames))

    assert found == [hashlib.sha256(one).hexdigest() for one in frames]
    assert whole == hashlib.sha256(b"".join(frames)).hexdigest()


@pytest.mark.parametrize("cut", [1, 3, 10, len(END_FRAME) - 1])
def test_a_cut_or_lengthened_archive_is_refused(tmp_path: Path, cut: int) -> None:
    """A truncated last frame, or bytes after it, are noticed."""
    data = archive_of(SHARED)
    for wrong in (data[:-cut], data + b"\0" * cut, data + data[:cut]):
        with pytest.raises(IntegrityError):
            walk(tmp_path / "x", wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        archive_of(OTHER, SHARED),
        archive_of(SHARED),
        archive_of(SHARED, OTHER, OTHER),
        archive_of(SHARED, OTHER) + END_FRAME,
    ],
    ids=["swapped", "dropped", "doubled", "appended"],
)
def test_frames_in_another_order_are_not_the_archive(tmp_path: Path, wrong: bytes) -> None:
    """Every frame is whole, but together they are not what was signed."""
    (tmp_path / "x").write_bytes(wrong)

    with (tmp_path / "x").open("rb") as file, pytest.raises(IntegrityError, match="not the signed one"):
        file_archive("nova-1", file, hashlib.sha256(archive_of(SHARED, OTHER)).hexdigest())


@pytest.mark.parametrize(
    "entries",
    [
        [file_of("../outside", b"")],
        [file_of("/tmp/outside", b"")],
        [link("lib/py/site-packages/x", "/etc")],
        [link("lib/py/site-packages/x", "../../../..")],
        [link("x", "y")],
    ],
    ids=["parent", "absolute", "absolute link", "climbing link", "inner link"],
)
def test_a_layer_reaches_nowhere(host: Host, entries: list[TarEntry]) -> None:
    """No path and no link of a layer leaves it; links a layer has none at all."""
    with pytest.raises(BundleError):
        host.put("nova-1", frame(entries))

    assert not (host.venvs / "nova-1").exists()
    assert not list(host.venvs.glob("**/.partial-*"))


@pytest.mark.parametrize(
    "entry",
    [
        link("bin/sh", "/bin/sh"),
        link(f"{SITE}/x", "/etc"),
        link(f"{SITE}/x", "/usr/lib/python3/../../../etc"),
        link("x", "../../y"),
    ],
    ids=["program", "etc", "dots", "climbing"],
)
def test_the_own_frame_links_to_python_and_its_modules_only(host: Host, entry: TarEntry) -> None:
    """Whatever else is linked to outside the venv is refused."""
    with pytest.raises(IntegrityError, match="points outside"):
        host.put("nova-1", SHARED, own=own_frame(more=[entry]))


def test_modules_of_the_distribution_may_be_linked(host: Host) -> None:
    """System packages are links from site-packages into the distribution's directories."""
    done = host.put("nova-1", SHARED, own=own_frame(more=[link(f"{SITE}/apt", "/usr/lib/python3/dist-packages/apt")]))

    assert str((done.path / SITE / "apt").readlink()) == "/usr/lib/python3/dist-packages/apt"


def test_nothing_is_written_through_a_link(host: Host) -> None:
    """A layer's file below a path that the own frame links elsewhere is refused, and does not arrive there."""
    own = own_frame(more=[link(f"{SITE}/apt", "/usr/lib/python3/dist-packages/apt")])

    with pytest.raises(IntegrityError):
        host.put("nova-1", layer({"apt/evil.py": ""}), own=own)

    assert not (host.venvs / "nova-1").exists()


def test_layers_that_disagree_are_refused(host: Host) -> None:
    """Two layers may own one path only with the same content."""
    same = layer({"other.py": "z = 3\n", "more.py": ""})
    host.put("nova-1", OTHER, same)

    with pytest.raises(IntegrityError, match="different files"):
        host.put("nova-2", OTHER, layer({"other.py": "z = 4\n"}))


def test_an_archive_without_an_end_or_a_frame_is_none(host: Host) -> None:
    """A stock archive, one without end, and one without pyvenv.cfg are told apart from ours."""
    plain = zstandard.ZstdCompressor().compress(io.BytesIO(b"x" * 2000).getvalue())
    for wrong in (plain, SHARED + own_frame() + OTHER, SHARED + OTHER + END_FRAME):
        host.archive("nova-1", wrong)
        with pytest.raises(IntegrityError, match="no venv archive"):
            host.unpack("nova-1")

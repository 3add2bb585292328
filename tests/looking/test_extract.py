"""`bundle-build cat` and `extract`: files straight from the volumes."""

from __future__ import annotations

import base64
import hashlib
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler.errors import UsageError
from bundler.model.contents import Contents, FileEntry, LinkEntry
from bundler.model.contents_json import parse_contents
from bundler.workflows.extract import find_files

Run = Callable[..., Any]
TOP = "os-releases/2026.1/debian-12-x86_64"
ARCHIVE = f"{TOP}/venvs/nova-1.tar.zst"


def entry_of(bundle: Path, path: str) -> FileEntry:
    contents = parse_contents((bundle / "bundle.json").read_bytes())
    return next(file for file in contents.files if file.path == path)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_cat_writes_exactly_the_file(bundle: Path, bundle_build: Run) -> None:
    """A venv archive of several blobs comes out with its signed digest, and nothing else is on stdout."""
    ran = bundle_build("cat", bundle, ARCHIVE)

    assert ran.status == 0
    assert hashlib.sha256(ran.out).hexdigest() == entry_of(bundle, ARCHIVE).sha256
    assert len(entry_of(bundle, ARCHIVE).blobs) == 3


def test_an_extracted_archive_opens_with_stock_tar(bundle: Path, bundle_build: Run) -> None:
    """What extract writes is the archive that stock tar lists."""
    bundle_build("extract", bundle, ARCHIVE)

    listed = subprocess.run(["tar", "--zstd", "-tf", "nova-1.tar.zst"], capture_output=True, check=True, text=True)
    assert "lib/py/site-packages/shared/data.bin" in listed.stdout.split()


def test_cat_follows_a_link(bundle: Path, bundle_build: Run) -> None:
    """A link of the repo host gives the file that it leads to."""
    assert bundle_build("cat", bundle, "constraints/upper_constraints_cached.txt").out == b"six==1.17\n"


def test_cat_as_json_carries_the_bytes(bundle: Path, bundle_build: Run) -> None:
    """With --json the bytes come as base64 in one document with path, size and digest."""
    data = bundle_build("cat", bundle, ARCHIVE, "--json").data

    content = base64.b64decode(data["data"], validate=True)
    assert (data["path"], data["mode"], len(content)) == (ARCHIVE, "0644", data["size"])
    assert hashlib.sha256(content).hexdigest() == data["sha256"] == entry_of(bundle, ARCHIVE).sha256


def test_cat_refuses_a_terminal(bundle: Path) -> None:
    """Bytes of a bundle never reach a terminal that could act on them."""
    master, slave = pty.openpty()
    command = [sys.executable, "-c", "from bundler.cli.build import main; main()", "cat", str(bundle), ARCHIVE]

    done = subprocess.run(command, stdout=slave, stderr=subprocess.PIPE, check=False, text=True, timeout=60)

    os.close(slave)
    os.close(master)
    assert done.returncode == 2
    assert "stdout is a terminal" in done.stderr


def test_cat_takes_one_file_only(bundle: Path, bundle_build: Run) -> None:
    """A directory is refused with the command for it; a glob that only one file matches is that file."""
    several = bundle_build("cat", bundle, f"{TOP}/wheels", "--json")
    single = bundle_build("cat", bundle, f"{TOP}/venvs/n*.zst")

    assert (several.status, several.out) == (2, b"")
    assert "3 files" in several.error["message"]
    assert hashlib.sha256(single.out).hexdigest() == entry_of(bundle, ARCHIVE).sha256


def test_nothing_that_matches_offers_the_nearest(bundle: Path, bundle_build: Run) -> None:
    """A misspelt name and a bare file name are answered with what was meant."""
    misspelt = bundle_build("cat", bundle, f"{TOP}/venvs/novva-1.tar.zst", "--json")
    bare = bundle_build("extract", bundle, "nova-1.tar.zst", "--json")

    assert (misspelt.status, bare.status) == (2, 2)
    assert "/venvs/nova-1.tar.zst" in misspelt.error["hint"]
    assert ARCHIVE in bare.error["hint"]


def test_a_directory_is_extracted_below_its_name(bundle: Path, bundle_build: Run, tmp_path: Path) -> None:
    """All files below a directory come out below its last part, or below --out."""
    bundle_build("extract", bundle, f"{TOP}/wheels")
    bundle_build("extract", bundle, TOP, "--out", tmp_path / "there")

    assert sorted(path.name for path in Path("wheels").iterdir()) == [
        "keystone-29.0-py3-none-any.whl",
        "nova-33.0-py3-none-any.whl",
        "shared-1.0-py3-none-any.whl",
    ]
    assert (tmp_path / "there/wheels/shared-1.0-py3-none-any.whl").read_bytes() == Path(
        "wheels/shared-1.0-py3-none-any.whl"
    ).read_bytes()


def test_links_to_directories_are_followed() -> None:
    """A path may lead through links, also through one after the other; one in a circle leads nowhere."""
    file = FileEntry(path="a/wheels/x.whl", size=1, sha256="0" * 64, mode=0o644, targets=("t",), blobs=("0" * 64,))
    links = {"a/simple/_wheels": "../wheels", "simple": "a/simple", "round": "round"}
    contents = Contents(
        name="n", version="1", sequence=1, floor=0, created=1, tool="t", targets=(), volumes=(), venvs=(),
        files=(file,),
        links=tuple(LinkEntry(path=path, to=to, targets=("t",)) for path, to in links.items()),
    )  # fmt: skip

    for path in ("simple/_wheels/x.whl", "simple/_wheels", "a/simple/_wheels/*.whl"):
        assert [match.entry for match in find_files(contents, path)] == [file]
    with pytest.raises(UsageError, match="round/x"):
        find_files(contents, "round/x")


def test_a_glob_keeps_the_parts_that_vary(bundle: Path, bundle_build: Run) -> None:
    """Files of both targets that match come out apart, from the first part with a wildcard on."""
    data = bundle_build("extract", bundle, "os-releases/2026.1/*/wheels/s*.whl", "--json").data

    assert [one["out"] for one in data["files"]] == [
        "debian-12-x86_64/wheels/shared-1.0-py3-none-any.whl",
        "ubuntu-24.04-x86_64/wheels/shared-1.0-py3-none-any.whl",
    ]
    assert all(Path(one["out"]).stat().st_size == one["size"] for one in data["files"])


def test_two_stars_cross_directories(bundle: Path, bundle_build: Run) -> None:
    """``**`` stands for any number of parts, ``*`` for none of the slashes."""
    many = bundle_build("extract", bundle, "**/*.tar.zst", "--out", "all", "--json")
    none = bundle_build("extract", bundle, "*.tar.zst", "--json")

    assert len(many.data["files"]) == 4
    assert none.status == 2


@pytest.mark.parametrize(
    ("out", "written"), [("f.bin", "f.bin"), ("d/", "d/nova-1.tar.zst"), ("is", "is/nova-1.tar.zst")]
)
def test_out_is_a_file_or_a_directory(bundle: Path, bundle_build: Run, out: str, written: str) -> None:
    """--out names the file, or a directory where it is one or ends with a slash."""
    Path("is").mkdir()

    bundle_build("extract", bundle, ARCHIVE, "--out", out)

    assert hashlib.sha256(Path(written).read_bytes()).hexdigest() == entry_of(bundle, ARCHIVE).sha256
    assert Path(written).stat().st_mode & 0o777 == 0o644


def test_several_files_need_a_directory(bundle: Path, bundle_build: Run) -> None:
    """A file in the place of the directory is left alone."""
    Path("taken").write_bytes(b"mine")

    ran = bundle_build("extract", bundle, f"{TOP}/wheels", "--out", "taken")

    assert (ran.status, Path("taken").read_bytes()) == (2, b"mine")


def test_damage_in_a_volume_is_named_and_leaves_no_file(
    bundle: Path, bundle_build: Run, damage: Callable[[Path, int], None]
) -> None:
    """One turned byte in a blob's frame: the error names file, volume and blob; the old file stays as it was."""
    contents = parse_contents((bundle / "bundle.json").read_bytes())
    layer = entry_of(bundle, ARCHIVE).blobs[1]
    volume, blob = next((one, blob) for one in contents.volumes for blob in one.blobs if blob.sha256 == layer)
    damage(bundle / volume.name, blob.offset + blob.length // 2)
    Path("nova-1.tar.zst").write_bytes(b"before")

    ran = bundle_build("extract", bundle, ARCHIVE, "--json")

    assert (ran.status, ran.error["error"]) == (61, "IntegrityError")
    assert all(part in ran.error["message"] for part in (ARCHIVE, volume.name, layer))
    assert [(path.name, path.read_bytes()) for path in Path().iterdir()] == [("nova-1.tar.zst", b"before")]


def test_cat_writes_no_byte_of_a_damaged_blob(
    bundle: Path, bundle_build: Run, damage: Callable[[Path, int], None]
) -> None:
    """Blobs before the damage are right; of the damaged one nothing reaches stdout."""
    contents = parse_contents((bundle / "bundle.json").read_bytes())
    first, layer, _ = entry_of(bundle, ARCHIVE).blobs
    places = {blob.sha256: (one, blob) for one in contents.volumes for blob in one.blobs}
    volume, blob = places[layer]
    damage(bundle / volume.name, blob.offset + blob.length - 1)

    ran = bundle_build("cat", bundle, ARCHIVE)

    assert ran.status == 61
    assert hashlib.sha256(ran.out).hexdigest() == first


def test_a_missing_volume_is_named(bundle: Path, bundle_build: Run) -> None:
    """A file whose volume was not carried says which volume that is."""
    (bundle / "common-001.tar.zst").unlink()

    ran = bundle_build("extract", bundle, ARCHIVE, "--json")

    assert (ran.status, ran.error["error"]) == (64, "FileMissing")
    assert "common-001.tar.zst" in ran.error["message"]


def test_a_frame_that_grows_is_refused(bundle: Path, bundle_build: Run) -> None:
    """A bundle.json that promises less than a frame holds gets no more than promised, even with its sums right."""
    path = bundle / "bundle.json"
    entry = entry_of(bundle, "constraints/upper_constraints_abc.txt")
    text = path.read_text().replace(f'"{entry.sha256}","size":10', f'"{entry.sha256}","size":9')
    assert text != path.read_text()
    sums = bundle / "SHA256SUMS"
    old, new = hashlib.sha256(path.read_bytes()).hexdigest(), hashlib.sha256(text.encode()).hexdigest()
    path.write_text(text)
    sums.write_text(sums.read_text().replace(old, new))

    ran = bundle_build("cat", bundle, entry.path)

    assert (ran.status, ran.out) == (61, b"")
    assert "promises 10 bytes instead of 9" in ran.err

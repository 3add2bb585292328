"""Copies from media into private staging: each byte once, right or not at all, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from bundler.bundle.medium import DirectoryMedium
from bundler.bundle.reader import open_bundle
from bundler.deploy.staging import Staging
from bundler.errors import StoreError
from tests.bundles import DEBIAN, UBUNTU
from tests.intake.conftest import SiteBench

VOLUME = f"{DEBIAN}-001.tar.zst"
FOREIGN = f"{UBUNTU}-001.tar.zst"


class Watched(DirectoryMedium):
    """A medium that counts how often each file is read, and may do more."""

    opened: Counter[str]
    change: Callable[[str, IO[bytes]], IO[bytes]]

    def open(self, name: str) -> IO[bytes]:
        self.opened[name] += 1
        return self.change(name, super().open(name))

    def size(self, name: str) -> int:
        return os.stat(name, dir_fd=self._handle).st_size


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Counter[str]]:
    """Have every medium watched from now on; return the counter."""

    def start(change: Callable[[str, IO[bytes]], IO[bytes]] = lambda _name, file: file) -> Counter[str]:
        counter: Counter[str] = Counter()

        @contextlib.contextmanager
        def open_watched(path: Path) -> Iterator[Watched]:
            medium = Watched(path)
            medium.opened, medium.change = counter, change
            yield medium
            medium.close()

        monkeypatch.setattr("bundler.bundle.sticks.open_medium", open_watched)
        return counter

    return start


def wanted(bundle: Path) -> dict[str, bytes]:
    """Return what a site of one target copies."""
    return {entry.name: entry.read_bytes() for entry in bundle.iterdir() if entry.name != FOREIGN}


def test_what_is_staged_is_a_bundle_of_its_own(bundle: Path, plant: SiteBench) -> None:
    """Common volumes and those of the site's targets are copied, with all documents; blobs are read from the copy."""
    taken = plant.take(bundle)

    assert taken.path is not None
    assert plant.staged() == wanted(bundle)
    assert taken.verified.unread == (FOREIGN,)
    assert taken.targets == (DEBIAN,)
    shutil.rmtree(bundle)
    with open_bundle(taken.path) as opened:
        path = f"os-releases/2026.1/{DEBIAN}/venvs/keystone-29.0.0.tar.zst"
        assert sum(map(len, opened.stream_file(path))) == opened.file(path).size
    assert plant.logged()[-1] == "verified"


def test_staging_is_private(bundle: Path, plant: SiteBench) -> None:
    """Nobody but the user who copies can look into the copy, let alone change it."""
    taken = plant.take(bundle)

    assert taken.path is not None
    assert stat.S_IMODE(taken.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in taken.path.iterdir()} == {0o600}


@pytest.mark.parametrize("what", ["open to others", "a link"])
def test_a_staging_directory_that_others_may_change_is_refused(bundle: Path, plant: SiteBench, what: str) -> None:
    """What was put there beforehand by somebody else is not used."""
    taken = plant.take(bundle)
    assert taken.path is not None
    if what == "a link":
        taken.path.rename(taken.path.with_name("elsewhere"))
        taken.path.symlink_to("elsewhere")
    else:
        taken.path.chmod(0o770)

    with pytest.raises(StoreError, match="user alone"):
        plant.take(bundle)


@pytest.mark.parametrize("copy", [True, False])
def test_every_byte_is_read_once(bundle: Path, plant: SiteBench, watch: Any, *, copy: bool) -> None:
    """No file of the medium is opened twice, and those of other targets not at all."""
    opened = watch()

    plant.take(bundle, copy=copy)

    assert opened == dict.fromkeys(wanted(bundle), 1)


def test_a_medium_that_gives_other_bytes_on_a_second_read_cannot_matter(
    bundle: Path, plant: SiteBench, watch: Any
) -> None:
    """What was judged is what is kept: the same bytes, from the one read; of what comes later nothing is used."""
    seen: set[str] = set()

    def fickle(name: str, file: IO[bytes]) -> IO[bytes]:
        if name not in seen:
            seen.add(name)
            return file
        size = os.fstat(file.fileno()).st_size
        file.close()
        return io.BytesIO(b"evil" * (size // 4 + 1))

    watch(fickle)

    plant.take(bundle)

    assert plant.staged() == wanted(bundle)


def test_a_second_run_reads_no_volume_again(bundle: Path, plant: SiteBench, watch: Any) -> None:
    """What is staged was checked: a rerun reads list, signatures and bundle.json, and no more."""
    first = plant.take(bundle)
    opened = watch()

    again = plant.take(bundle)

    assert set(opened) == {"SHA256SUMS", "SHA256SUMS.alice.sig", "bundle.json"}
    assert again.path == first.path
    assert again.verified == first.verified


def test_what_is_staged_need_not_be_on_the_stick_any_more(bundle: Path, plant: SiteBench) -> None:
    """With the volumes staged the stick that is still there will do."""
    plant.take(bundle)
    (bundle / VOLUME).unlink()

    assert plant.take(bundle).verified.unread == (FOREIGN,)


def test_new_signatures_are_taken_over(bundle: Path, plant: SiteBench) -> None:
    """A bundle that comes again with another signature has that one in its copy too."""
    plant.take(bundle)
    plant.keys.sign(bundle, "bob")

    plant.take(bundle)

    assert plant.staged() == wanted(bundle)


def test_a_medium_pulled_while_it_is_copied(bundle: Path, plant: SiteBench, watch: Any) -> None:
    """An error of the medium names the file; nothing of it stays; with the medium back a rerun goes on."""

    class Pulled(io.RawIOBase):
        def __init__(self, file: IO[bytes]) -> None:
            self.file, self.left = file, 1

        def close(self) -> None:
            self.file.close()
            super().close()

        def readinto(self, buffer: Any, /) -> int:
            if not self.left:
                raise OSError(errno.EIO, "Input/output error")
            self.left -= 1
            data = self.file.read(1000)
            buffer[: len(data)] = data
            return len(data)

    watch(lambda name, file: Pulled(file) if name == VOLUME else file)

    error = plant.refusal(bundle)

    assert (error.rule, error.exit_code) == ("IntegrityError", 61)
    assert VOLUME in error.message
    assert "medium" in error.hint
    assert VOLUME not in plant.staged()
    assert not list(plant.places.staging.glob("*/.*"))
    opened = watch()
    plant.take(bundle)
    assert plant.staged() == wanted(bundle)
    assert opened[VOLUME] == 1


def test_no_room_is_found_before_the_copy_begins(
    bundle: Path, plant: SiteBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are added up first: with too little room not one volume is begun, and the figures are said."""
    real = os.statvfs

    def small(path: Any) -> Any:
        found = list(real(path))
        found[4] = 10  # f_bavail
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", small)

    error = plant.refusal(bundle)

    assert (error.rule, error.exit_code) == ("SpaceError", 63)
    assert str(plant.places.staging) in error.message
    assert "are free" in error.message
    assert plant.staged() == {}


INSIDE = """
import pathlib, sys, tests.intake.conftest as c
from tests.bundles import Keys
from bundler.deploy.places import Places
config, bundle, *keys = map(pathlib.Path, sys.argv[1:])
plant = c.SiteBench(Places(config=config, state=pathlib.Path("/small")), Keys(*keys))
try:
    plant.take(bundle)
except c.BundlerError as error:
    print(error.exit_code, error.message)
"""


@pytest.mark.isolation
def test_a_full_disk_is_said(bundle: Path, plant: SiteBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small file system that is really full the error names the directory."""
    bwrap = ["bwrap", "--dev-bind", "/", "/", "--size", "65536", "--tmpfs", "/small"]
    arguments = [plant.places.config, bundle, plant.keys.directory, plant.keys.allowed]
    inside = [sys.executable, "-c", INSIDE, *map(str, arguments)]

    done = subprocess.run(
        [*bwrap, *inside], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip

    assert done.stdout.startswith("63 /small/staging")


def test_volumes_of_other_targets_may_be_missing_or_damaged(bundle: Path, plant: SiteBench) -> None:
    """A site carries what it needs: other targets' volumes and tables are neither missed nor looked at."""
    (bundle / FOREIGN).write_bytes(b"damaged")
    assert plant.take(bundle).verified.unread == (FOREIGN,)
    tables = [f"files-{UBUNTU}.sha256", f"blobs-{UBUNTU}.sha256", f"assemble-{UBUNTU}.tsv"]
    for name in (FOREIGN, *tables):
        (bundle / name).unlink()
    again = SiteBench(replace(plant.places, state=plant.places.state / "new"), plant.keys)

    assert again.take(bundle, deep=True).verified.unread == tuple(sorted((FOREIGN, *tables)))
    again.targets = (DEBIAN, UBUNTU)
    assert again.refusal(bundle).exit_code == 64


def test_a_copy_that_is_let_go_is_made_anew(bundle: Path, plant: SiteBench) -> None:
    """Staging can be removed at any time."""
    taken = plant.take(bundle)
    Staging(plant.places, taken.verified.digest).remove()
    assert plant.staged() == {}

    plant.take(bundle)

    assert plant.staged() == wanted(bundle)


def test_sticks_that_come_one_after_the_other_are_copied(bundle: Path, plant: SiteBench) -> None:
    """What is on the first stick is copied before the next is asked for; no stick is needed twice."""
    second = bundle.with_name("second")
    second.mkdir()
    for name in ("SHA256SUMS", "SHA256SUMS.alice.sig"):
        shutil.copy(bundle / name, second / name)
    shutil.move(bundle / VOLUME, second / VOLUME)
    expected = {**wanted(bundle), VOLUME: (second / VOLUME).read_bytes()}
    asked: list[tuple[str, ...]] = []

    def ask(missing: tuple[str, ...]) -> Path:
        asked.append(missing)
        shutil.rmtree(bundle)
        return second

    plant.take(bundle, ask=ask)

    assert asked == [(VOLUME,)]
    assert plant.staged() == expected


def test_nothing_is_written_where_nothing_is_to_be_copied(bundle: Path, plant: SiteBench) -> None:
    """A check leaves the site as it was but for its log."""
    plant.take(bundle, copy=False, deep=True)

    assert not plant.places.staging.exists()
    assert plant.logged()[-1] == "verified"


def test_the_medium_is_never_changed(bundle: Path, plant: SiteBench) -> None:
    """Not even the times of access of a medium change."""

    def times() -> dict[str, tuple[int, int, int]]:
        found = {entry.name: entry.stat() for entry in bundle.iterdir()}
        return {name: (s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns) for name, s in found.items()}

    for entry in bundle.iterdir():
        os.utime(entry, (1, 1))
    before = times()

    plant.take(bundle)

    assert times() == before

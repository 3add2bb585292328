"""Durable writes: a reader sees the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler import files
from bundler.clock import pause
from bundler.errors import SpaceError
from bundler.files import (
    ASIDE,
    PARTIAL,
    make_directory,
    partial_name,
    recover_directory,
    replacing,
    replacing_directory,
    room_for,
    sha256_of,
    sweep,
    unfinished_directory,
    unfinished_file,
    write,
    write_if_changed,
)

OLD = b"old" * 1000
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def leftovers(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.startswith((PARTIAL, ASIDE))]


@pytest.fixture(params=["exchange", "two renames"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test on a system that can exchange two names, and on one that cannot."""
    way = str(request.param)
    if way == "two renames":
        monkeypatch.setattr(files, "_renameat2", lambda: None)
    return way


def test_a_write_replaces_content_and_mode(tmp_path: Path) -> None:
    """New content takes the place of the old, with the mode asked for whatever the umask."""
    path = tmp_path / "deep" / "file"
    before = os.umask(0o077)
    try:
        write(path, b"one", mode=0o600)
        write(path, (piece for piece in (b"t", b"wo")), mode=0o755)
    finally:
        os.umask(before)

    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o755
    assert leftovers(path.parent) == []


def test_an_exception_leaves_the_old_content(tmp_path: Path) -> None:
    """A source that fails half-way leaves the file as it was, and nothing beside it."""
    path = tmp_path / "file"
    path.write_bytes(OLD)

    def failing() -> Iterator[bytes]:
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, failing())
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"new", None])  # type: ignore[list-item]

    assert path.read_bytes() == OLD
    assert leftovers(tmp_path) == []


def test_a_kill_leaves_the_old_content(tmp_path: Path) -> None:
    """After kill -9 in the middle of a write the old content is there, and sweep removes the rest."""
    path = tmp_path / "file"
    path.write_bytes(OLD)
    script = (
        "import sys, time; from pathlib import Path; from bundler.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'new'); file.flush(); print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)

    assert path.read_bytes() == OLD
    assert len(leftovers(tmp_path)) == 1
    sweep(tmp_path)
    assert leftovers(tmp_path) == []


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    """A file that is rewritten all the time is always one whole version."""
    path = tmp_path / "file"
    versions = [bytes([number]) * 100_000 for number in (1, 2)]
    write(path, versions[0])
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            for version in versions:
                write(path, version)

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        seen = {path.read_bytes() for _ in range(200)}
    finally:
        stop.set()
        thread.join()

    assert seen <= set(versions)


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    """Equal content keeps the file, its inode and its time."""
    path = tmp_path / "file"

    assert write_if_changed(path, b"x")
    inode = path.stat().st_ino
    assert not write_if_changed(path, b"x")
    assert path.stat().st_ino == inode
    assert write_if_changed(path, b"y")


@pytest.mark.parametrize("name", ["a" * 255, "ä" * 127, "\udcff" * 200])
def test_names_of_any_length_can_be_replaced(tmp_path: Path, name: str) -> None:
    """A name as long as the file system allows has an unfinished name that it allows too."""
    path = tmp_path / name

    write(path, b"x")

    assert path.read_bytes() == b"x"
    assert partial_name(path) != partial_name(path)


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path, either_way: str) -> None:
    """The new directory takes the place of the old one; nothing of the old stays."""
    path = tmp_path / "dir"
    for name in ("one", "two"):
        with replacing_directory(path) as fresh:
            (fresh / name).touch()

    assert [entry.name for entry in path.iterdir()] == ["two"]
    assert leftovers(tmp_path) == []


def test_an_exception_leaves_the_old_directory(tmp_path: Path, either_way: str) -> None:
    """A failure inside the block, or at the last rename, leaves the old directory in place."""
    path = tmp_path / "dir"
    path.mkdir()
    (path / "old").touch()

    with pytest.raises(RuntimeError), replacing_directory(path):
        raise RuntimeError
    with pytest.raises(OSError), replacing_directory(path) as fresh:
        fresh.rmdir()

    assert [entry.name for entry in path.iterdir()] == ["old"]
    assert leftovers(tmp_path) == []


def test_sweep_touches_nothing_else(tmp_path: Path) -> None:
    """Only unfinished things go; links are removed, not followed; a missing directory is fine."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / f"{PARTIAL}link").symlink_to(kept)
    (tmp_path / f"{PARTIAL}dir").mkdir()
    (tmp_path / f"{PARTIAL}file").touch()

    sweep(tmp_path)
    sweep(tmp_path / "missing")

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").exists()


def test_a_digest_is_computed_in_pieces(tmp_path: Path) -> None:
    """The digest is that of the content, and progress adds up to its size."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert sha256_of(path) == EMPTY

    path.write_bytes(b"x" * (5 << 20))
    steps: list[int] = []
    sha256_of(path, steps.append)
    assert sum(steps) == 5 << 20
    assert max(steps) <= 1 << 20


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Many threads that write one file all succeed; one of their versions stays."""
    path = tmp_path / "file"
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for _ in range(10):
                write(path, bytes([number]) * 1000)
                pause(0)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(set(path.read_bytes())) == 1
    assert leftovers(tmp_path) == []


def test_a_directory_is_there_at_every_moment(tmp_path: Path) -> None:
    """While a directory is replaced again and again, a reader always finds it, with one whole content."""
    path, seen, stop = tmp_path / "dir", set[tuple[str, ...]](), threading.Event()
    path.mkdir()
    (path / "0").touch()
    with unfinished_directory(tmp_path / "other") as other:
        if not files._exchange(path, other) or not files._exchange(path, other):
            pytest.skip("this file system cannot exchange two names")

    def look() -> None:
        while not stop.is_set():
            # The names of one open directory: its content as it was when it had the name.
            handle = os.open(path, os.O_RDONLY)
            with os.scandir(handle) as entries:
                seen.add(tuple(entry.name for entry in entries))
            os.close(handle)

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(100):
        with replacing_directory(path) as fresh:
            (fresh / str(number)).touch()
    stop.set()
    thread.join()

    # A directory that was just exchanged is emptied while it is still open: no names, never two.
    assert {len(names) for names in seen} <= {0, 1}
    assert [entry.name for entry in path.iterdir()] == ["99"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM])
def test_a_system_without_exchange_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A kernel, file system or sandbox that refuses makes two renames do; any other error is an error."""
    refusals = iter([number, errno.EIO])

    def refuse(*_arguments: object) -> int:
        ctypes.set_errno(next(refusals))
        return -1

    monkeypatch.setattr(files, "_renameat2", lambda: refuse)
    path = tmp_path / "dir"
    path.mkdir()
    with replacing_directory(path) as fresh:
        (fresh / "new").touch()
    assert (path / "new").exists()

    with pytest.raises(OSError, match="Input/output"), replacing_directory(path):
        pass
    assert (path / "new").exists()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["dir", "ä" * 127])
def test_a_directory_that_was_moved_aside_comes_back(tmp_path: Path, name: str) -> None:
    """A kill between two renames loses nothing: the old directory gets its name back."""
    path = tmp_path / name
    path.mkdir()
    (path / "old").touch()
    path.rename(files._aside(path))

    recover_directory(path)

    assert (path / "old").exists()
    assert leftovers(tmp_path) == []


def test_a_directory_moved_aside_goes_once_the_new_one_is_there(tmp_path: Path) -> None:
    """A kill after the second rename leaves the old directory aside; recovery removes it, and nothing else."""
    path = tmp_path / "dir"
    for place in (path, files._aside(path)):
        place.mkdir()
        (place / place.name).touch()

    recover_directory(path)

    assert [entry.name for entry in path.iterdir()] == ["dir"]
    assert leftovers(tmp_path) == []


def test_what_a_running_process_works_on_is_not_swept(tmp_path: Path) -> None:
    """Unfinished files and directories of a live process stay; after its death they go."""
    script = (
        "import sys, time; from pathlib import Path; from bundler.files import *\n"
        "path = Path(sys.argv[1])\n"
        "with unfinished_file(path / 'file'), unfinished_directory(path / 'dir'):\n"
        "    print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        sweep(tmp_path)
        assert len(leftovers(tmp_path)) == 2
        process.kill()

    sweep(tmp_path)

    assert leftovers(tmp_path) == []


def test_sweeping_all_the_time_disturbs_no_writer(tmp_path: Path) -> None:
    """However a sweep and the making of unfinished things meet, what is being made stays."""
    stop = threading.Event()

    def sweeping() -> None:
        while not stop.is_set():
            sweep(tmp_path)

    thread = threading.Thread(target=sweeping)
    thread.start()
    try:
        for number in range(200):
            with unfinished_directory(tmp_path / "dir") as directory, unfinished_file(tmp_path / "x") as file:
                (directory / "inside").touch()
                file.write(b"x")
                assert Path(file.name).exists()
            write(tmp_path / "file", str(number).encode())
    finally:
        stop.set()
        thread.join()

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be locked, writing works all the same, and nothing is swept: nobody knows whose it is."""

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write(tmp_path / "file", b"x")
    with unfinished_directory(tmp_path / "dir"):
        sweep(tmp_path)
        assert len(leftovers(tmp_path)) == 1

    assert (tmp_path / "file").read_bytes() == b"x"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(tmp_path: Path, number: int) -> None:
    """No space left becomes our own error with the path; other errors of the system stay what they are."""
    with pytest.raises(SpaceError, match="place") as caught, room_for(tmp_path / "place"):
        raise OSError(number, os.strerror(number))
    assert caught.value.hint

    with contextlib.suppress(PermissionError), room_for(tmp_path):
        raise PermissionError


def test_directories_are_made_to_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new directory is made durable in the one above it, once."""
    synced: list[Path] = []
    monkeypatch.setattr(files, "fsync_directory", synced.append)

    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")

    assert synced == [tmp_path, tmp_path / "a"]

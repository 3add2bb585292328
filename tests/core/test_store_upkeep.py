"""Keeping a store: damaged blobs are found, what nobody uses goes, sizes are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.errors import StoreError
from bundler.events import Event, StageAdvanced, StageStarted
from bundler.store.cas import Blob, Store, key_of
from bundler.workflows.store import Share, check_store, measure_store, prune_store

DAY = 24 * 3600
BIN = Path(sys.executable).parent


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def age(path: Path, days: float) -> Path:
    """Make ``path`` look as if it was used last so many days ago."""
    then = path.stat().st_mtime - days * DAY
    os.utime(path, (then, then))
    return path


def spoil(store: Store, blob: Blob) -> None:
    path = store.path(blob.digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])


def test_check_reads_every_blob(store: Store) -> None:
    """A sound store is told as such, and progress adds up to its size."""
    for text in (b"one", b"three", b"x" * 100_000):
        store.put(text)
    events: list[Event] = []

    assert check_store(store, events.append) == Share(kind="blobs", count=3, size=100_008)

    assert [event.total for event in events if isinstance(event, StageStarted)] == [100_008]
    assert sum(event.amount for event in events if isinstance(event, StageAdvanced)) == 100_008


def test_check_removes_and_names_what_is_damaged(store: Store) -> None:
    """Damaged blobs, and files that are no blobs, are named and go; the others stay, and the next check is clean."""
    good, bad = store.put(b"good"), store.put(b"not palindromic")
    spoil(store, bad)
    stray = store.path(good.digest).with_name("stray")
    stray.touch()

    with pytest.raises(StoreError, match="2 of 3 blobs") as caught:
        check_store(store)

    assert {problem.where for problem in caught.value.problems} == {bad.digest, "stray"}
    assert store.has(good.digest)
    assert not store.has(bad.digest)
    assert check_store(store).count == 1


def test_check_is_no_use(store: Store) -> None:
    """Reading a blob only to check it does not keep it from pruning."""
    blob = store.put(b"content")
    age(store.path(blob.digest), 40)

    check_store(Store(store.root))

    assert prune_store(store, 30) == (Share(kind="blobs", count=1, size=7),)


def make_log(store: Store) -> Path:
    path = store.root / "logs" / "proof" / "x.log"
    path.parent.mkdir(parents=True)
    path.write_text("log")
    return path


def make_failed(store: Store) -> Path:
    path = store.root / "failed" / "x-1.0"
    (path / "src").mkdir(parents=True)
    (path / "src" / "setup.py").write_text("...")
    return path


def make_mirror(store: Store) -> Path:
    path = store.root / "git" / "x.git"
    path.mkdir(parents=True)
    (path / "HEAD").write_text("ref")
    path.with_suffix(".lock").touch()
    return path


def make_blob(store: Store) -> Path:
    return store.path(store.put(b"123").digest)


def make_download(store: Store) -> Path:
    path = store.tmp / "fetch-x"
    path.write_bytes(b"123")
    return path


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_blob, "blobs"),
        (make_failed, "failed"),
        (make_log, "logs"),
        (make_download, "tmp"),
        (make_mirror, "git"),
    ],
)
def test_prune_removes_what_is_old(store: Store, make: Callable[[Store], Path], kind: str) -> None:
    """Of each kind, what nobody used for the time goes, what is younger stays; a dry run only tells."""
    path = make(store)
    stamped = path.with_suffix(".lock") if kind == "git" else path
    assert prune_store(store, 30) == ()
    age(stamped, 29)
    assert prune_store(store, 30) == ()
    age(stamped, 2)

    told = prune_store(store, 30, dry_run=True)
    assert path.exists()
    assert prune_store(store, 30) == told == (Share(kind=kind, count=1, size=3),)

    assert not path.exists()
    assert not stamped.exists()


def test_prune_keeps_what_a_run_used(store: Store) -> None:
    """A blob and a reference that a run asked for are young again; others of the same age go."""
    used, unused = store.put(b"used"), store.put(b"unused")
    for name in ("used", "unused"):
        store.remember("wheel", key_of(name), name)
    for path in (*(store.root / "blobs").glob("*/*"), *(store.root / "refs").glob("*/*/*")):
        age(path, 40)

    run = Store(store.root)
    run.open(used.digest).close()
    run.recall("wheel", key_of("used"))
    del run
    prune_store(store, 30)

    assert store.has(used.digest)
    assert not store.has(unused.digest)
    assert store.recall("wheel", key_of("used")) == "used"
    assert store.recall("wheel", key_of("unused")) is None


def test_prune_goes_by_the_clock_of_the_files(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time fixed for reproducible builds does not make everything look young or old."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "4000000000")
    blob = store.put(b"content")

    assert prune_store(store, 1) == ()
    assert store.has(blob.digest)


def test_prune_waits_for_other_runs(store: Store) -> None:
    """While another run has the store nothing is removed, and the error says so."""
    path = age(make_blob(store), 99)
    other = Store(store.root)

    with pytest.raises(StoreError, match="in use"):
        prune_store(store, 30)

    assert other.path(path.name).exists()


def test_size_tells_what_is_there(store: Store) -> None:
    """Files and bytes by kind; a file with two names counts once."""
    path = make_blob(store)
    (store.root / "pex").mkdir()
    (store.root / "pex" / "copy").hardlink_to(path)
    (store.root / "pex" / "link").hardlink_to(path)

    found = {share.kind: (share.count, share.size) for share in measure_store(store)}

    assert found == {"blobs": (1, 3), "pex": (1, 3), "tmp": (0, 0)}


def bundle_build(store: Store, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "bundle-build"), "--store", str(store.root), "store", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done


def test_the_commands_tell_people_and_programs(tmp_path: Path) -> None:
    """check, prune and size end with the right status, text and JSON."""
    store = Store(tmp_path / "store")
    blob = store.put(b"content")
    assert "blobs: 1, 7 B, all sound" in bundle_build(store, "check").stdout
    assert json.loads(bundle_build(store, "size", "--json").stdout)["size"] == 7

    spoil(store, blob)
    assert blob.digest in bundle_build(store, "check", status=62).stderr

    age(make_blob(store), 31)
    assert "in use" in bundle_build(store, "prune", status=62).stderr
    root = store.root
    del store
    again = subprocess.run(
        [str(BIN / "bundle-build"), "--store", str(root), "store", "prune", "--json"], capture_output=True, check=True
    )
    assert json.loads(again.stdout)["kinds"] == [{"kind": "blobs", "count": 1, "size": 3}]

"""The store: immutable blobs by digest, and references to what was made from what."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import SpaceError, StoreError
from bundler.store.cas import Blob, Store, default_root, key_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def damage(store: Store, blob: Blob, data: bytes) -> None:
    path = store.path(blob.digest)
    path.chmod(0o644)
    path.write_bytes(data)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_relative_root_is_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that works in other directories finds the same store."""
    monkeypatch.chdir(tmp_path)
    store = Store(Path("store"))
    monkeypatch.chdir("/")

    assert store.path(store.put(b"content").digest).is_relative_to(tmp_path)


def test_a_blob_is_named_by_its_digest_and_read_only(store: Store) -> None:
    """Bytes and streams give the same blob, which nobody can write to by mistake."""
    blob = store.put(b"content")

    assert blob == Blob(digest=digest(b"content"), size=7)
    assert store.put(iter([b"con", b"tent"])) == blob
    assert store.path(blob.digest).stat().st_mode & 0o777 == 0o444
    with store.open(blob.digest) as file:
        assert file.read() == b"content"
    assert list(store.tmp.iterdir()) == []


def test_files_are_copied_or_moved_in(store: Store, tmp_path: Path) -> None:
    """put_file leaves the file where it is, adopt takes it away."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * (3 << 20))

    blob = store.put_file(path)
    assert path.exists()
    assert store.adopt(path) == blob
    assert not path.exists()
    assert store.size(blob.digest) == 3 << 20


def test_a_missing_blob_is_an_error_with_a_hint(store: Store) -> None:
    """Opening or measuring what is not there says which blob, and what to do."""
    for ask in (store.open, store.size):
        with pytest.raises(StoreError, match="0" * 64) as caught:
            ask("0" * 64)
        assert caught.value.hint


def test_a_failing_stream_leaves_nothing(store: Store) -> None:
    """A source that breaks half-way leaves no blob and no unfinished file."""

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put(broken())

    assert list(store.tmp.iterdir()) == []
    assert not store.has(digest(b"half"))


def test_a_damaged_blob_is_found_and_can_be_put_again(store: Store) -> None:
    """Verify notices changed bytes and removes the blob; putting it again heals the store."""
    blob = store.put(b"content")
    path = store.path(blob.digest)
    path.chmod(0o644)
    path.write_bytes(b"CONTENT")

    assert not store.verify(blob.digest)
    assert not store.has(blob.digest)
    assert store.put(b"content") == blob
    assert store.verify(blob.digest)


def test_a_truncated_blob_is_replaced_by_the_next_put(store: Store) -> None:
    """A blob of the wrong size is never taken for the content."""
    blob = store.put(b"content")
    path = store.path(blob.digest)
    path.chmod(0o644)
    path.write_bytes(b"con")

    assert store.put(b"content").size == 7
    assert store.verify(blob.digest)


def test_two_threads_can_put_the_same_blob(store: Store) -> None:
    """Concurrent puts of equal content all succeed and leave one blob."""
    data = b"same" * 100_000
    barrier = threading.Barrier(4)
    found: list[Blob] = []

    def work() -> None:
        barrier.wait()
        found.append(store.put(data[start : start + 1000] for start in range(0, len(data), 1000)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [Blob(digest=digest(data), size=len(data))] * 4
    assert store.verify(digest(data))
    assert list(store.tmp.iterdir()) == []


def test_a_blob_damaged_without_a_change_of_size_is_noticed(store: Store) -> None:
    """Whoever reads a damaged blob in a later run is told, by name; the blob goes, so that it is made again."""
    blob = store.put(b"content")
    damage(store, blob, b"CONTENT")
    store.open(blob.digest).close()  # this run has written it itself: it is not read again

    for ask in (Store(store.root).open, Store(store.root).checked):
        damage(store, blob, b"CONTENT")
        with pytest.raises(StoreError, match=blob.digest) as caught:
            ask(blob.digest)
        assert "run again" in caught.value.hint
        assert not store.has(blob.digest)
        store.put(b"content")

    assert Store(store.root).checked(blob.digest).read_bytes() == b"content"


def test_a_damaged_blob_is_healed_by_whoever_has_its_bytes(store: Store, tmp_path: Path) -> None:
    """A put or an adoption compares the blob that is there with the bytes at hand, also when the sizes are equal."""
    blob = store.put(b"content")
    for number in range(2):
        damage(store, blob, b"CONTENT")
        path = tmp_path / "file"
        path.write_bytes(b"content")

        assert store.put(b"content") == blob if number else store.adopt(path) == blob

        assert store.path(blob.digest).read_bytes() == b"content"
        assert store.path(blob.digest).stat().st_mode & 0o777 == 0o444


def test_a_killed_process_leaves_no_blob_and_is_swept(store: Store) -> None:
    """What a killed process left unfinished is removed by the next one, what a living one works on is not."""
    script = (
        "import sys, time; from pathlib import Path; from bundler.store.cas import Store\n"
        "def slow():\n    yield b'half'; print('ready', flush=True); time.sleep(60)\n"
        "Store(Path(sys.argv[1])).put(slow())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(store.root)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with store.workdir("mine") as mine:
            Store(store.root)
            assert len(list(store.tmp.iterdir())) == 2
            process.kill()
            process.wait()
            Store(store.root)

            assert list(store.tmp.iterdir()) == [mine]
    assert not (store.root / "blobs").exists()


@pytest.mark.isolation
def test_runs_in_two_containers_leave_each_others_work_alone(store: Store, tmp_path: Path) -> None:
    """A run in another process namespace, where our process numbers mean nothing, sweeps nothing that is held."""
    script = "import sys; from pathlib import Path; from bundler.store.cas import Store; Store(Path(sys.argv[1]))"
    container = ["bwrap", "--unshare-pid", "--dev-bind", "/", "/", "--proc", "/proc"]
    left = store.tmp / "work-0123456789abcdef-build"
    left.mkdir()

    with store.workdir("mine") as mine:
        subprocess.run([*container, sys.executable, "-c", script, str(store.root)], check=True)

        assert list(store.tmp.iterdir()) == [mine]


def test_a_download_survives_the_death_of_its_process(store: Store) -> None:
    """What was downloaded in part is no leftover: the next run goes on with it."""
    (store.tmp / f"fetch-{'0' * 64}").write_bytes(b"half")

    Store(store.root)

    assert len(list(store.tmp.iterdir())) == 1


def test_a_full_disk_is_an_error_of_ours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for a blob, a reference or work: one error that names the place; nothing stays."""

    def full() -> Iterator[bytes]:
        yield b"half"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SpaceError, match="tmp"):
        store.put(full())
    with pytest.raises(SpaceError, match="tmp"), store.workdir("build"):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert list(store.tmp.iterdir()) == []


def test_nobody_else_is_in_while_one_is_alone(store: Store) -> None:
    """The store is had alone only while no other run has it open, and a run that comes then waits."""
    other = Store(store.root)
    with pytest.raises(StoreError, match="in use"), store.alone():
        pass
    del other

    opened: list[Store] = []
    with store.alone():
        thread = threading.Thread(target=lambda: opened.append(Store(store.root)))
        thread.start()
        thread.join(0.2)
        assert opened == []
    thread.join()

    assert len(opened) == 1


def test_use_is_noted_by_time_stamps(store: Store) -> None:
    """Asking for a blob or a reference in a run renews its time stamp, once."""
    blob = store.put(b"content")
    store.remember("wheel", key_of("x"), 1)
    paths = [store.path(blob.digest), next((store.root / "refs").rglob("*.json"))]
    for path in paths:
        os.utime(path, (1, 1))

    later = Store(store.root)
    assert later.has(blob.digest)
    assert later.recall("wheel", key_of("x")) == 1

    assert all(path.stat().st_mtime > 1 for path in paths)
    os.utime(paths[0], (1, 1))
    assert later.size(blob.digest) == 7
    assert paths[0].stat().st_mtime == 1


def test_a_workdir_is_private_and_goes_away(store: Store) -> None:
    """A working directory is fresh, lies on the store's file system, and is removed even after a failure."""
    with pytest.raises(FileNotFoundError), store.workdir("layer") as path:
        (path / "missing" / "file").touch()

    assert not path.exists()
    assert path.parent == store.tmp


def test_references_are_remembered(store: Store) -> None:
    """A value comes back as it was; the last one wins; an unknown key is nothing."""
    key = key_of("sdist", "x")
    store.remember("wheel", key, {"blob": "a"})
    store.remember("wheel", key, {"blob": "b"})

    assert store.recall("wheel", key) == {"blob": "b"}
    assert store.recall("other", key) is None
    assert store.recall("wheel", key_of("sdist", "y")) is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"\0" * 10, b"[1]", b"1", b'{"value": 1}'])
def test_a_damaged_reference_counts_as_none(store: Store, content: bytes) -> None:
    """The cache may forget, it may not fail."""
    key = key_of("x")
    store.remember("wheel", key, 1)
    next((store.root / "refs").rglob("*.json")).write_bytes(content)

    assert store.recall("wheel", key) is None


def test_a_reference_with_one_wrong_letter_counts_as_none(store: Store) -> None:
    """Damage that is still JSON is noticed too: a reference carries its own digest."""
    key = key_of("x")
    store.remember("wheel", key, {"digest": "abc"})
    path = next((store.root / "refs").rglob("*.json"))
    path.write_bytes(path.read_bytes().replace(b"abc", b"abd"))

    assert store.recall("wheel", key) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_value_comes_back(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    """Every JSON value is remembered as it is."""
    store = Store(tmp_path_factory.mktemp("store"))
    store.remember("kind", key_of("x"), value)

    assert store.recall("kind", key_of("x")) == value


def test_a_store_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """A file in the way is named, with the option that chooses another place."""
    (tmp_path / "file").touch()

    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "file" / "store")

    assert "--store" in caught.value.hint


def test_the_default_place_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BUNDLE_STORE wins over XDG_CACHE_HOME, that over the home directory."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_root() == tmp_path / "home" / ".cache" / "bundle-build"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_root() == tmp_path / "cache" / "bundle-build"

    monkeypatch.setenv("BUNDLE_STORE", str(tmp_path / "own"))
    assert default_root() == tmp_path / "own"


@given(st.dictionaries(st.text(), st.integers()), st.dictionaries(st.text(), st.integers()))
def test_keys_depend_on_content_only(left: dict[str, int], right: dict[str, int]) -> None:
    """Equal parts in any order of keys give one key, different parts never do."""
    assert key_of("k", left) == key_of("k", dict(reversed(left.items())))
    assert (key_of("k", left) == key_of("k", right)) == (left == right)
    assert key_of("a", "b") != key_of("ab")

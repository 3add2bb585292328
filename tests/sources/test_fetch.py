"""Fetching: once, resumed, verified; the server is real and misbehaves."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundler.errors import BundlerError, DigestMismatch, FetchFailed, SpaceError
from bundler.events import Event, ItemFinished, StageAdvanced, StageFinished, StageStarted
from bundler.model.lock import Artifact
from bundler.sources.credentials import Credentials
from bundler.sources.fetch import PIECE, fetch_all, fetch_one
from bundler.sources.http import HttpClient
from bundler.sources.partial import Partial, claim
from bundler.sources.retry import Retry
from bundler.store.cas import Store

if TYPE_CHECKING:
    from tests.sources.conftest import Loopback

MIB = 1 << 20


def leftovers(store: Store) -> list[str]:
    return sorted(path.name for path in store.tmp.iterdir())


def test_every_file_is_fetched_once(server: Loopback, store: Store, client: HttpClient) -> None:
    """A file that several locks name is asked for once, and its blob has the right bytes."""
    first = server.artifact("a.whl", b"a" * 1000)
    second = server.artifact("b.whl", b"b" * 1000)

    blobs = fetch_all([first, second, first, first], store, client)

    assert {blob.size for blob in blobs.values()} == {1000}
    assert store.path(first.sha256).read_bytes() == b"a" * 1000
    assert sorted(request.path for request in server.asked()) == ["/a.whl", "/b.whl"]
    assert leftovers(store) == []


def test_what_is_stored_is_not_fetched(server: Loopback, store: Store, client: HttpClient) -> None:
    """A second run asks the server for nothing."""
    artifact = server.artifact("a.whl", b"a")
    fetch_all([artifact], store, client)
    server.requests.clear()

    fetch_all([artifact], store, client)

    assert server.requests == []


@pytest.mark.parametrize("statuses", [[503, 503], [429], [500, 502]])
def test_passing_trouble_is_retried(server: Loopback, store: Store, client: HttpClient, statuses: list[int]) -> None:
    """A server that is busy twice and then fine costs time only."""
    artifact = server.artifact("a.whl", b"a" * 10, statuses=list(statuses))

    fetch_all([artifact], store, client)

    assert store.has(artifact.sha256)
    assert len(server.asked()) == len(statuses) + 1


def test_lasting_trouble_is_reported(server: Loopback, store: Store, client: HttpClient) -> None:
    """A server that stays busy ends in an error with its status, after the allowed attempts."""
    artifact = server.artifact("a.whl", b"a", statuses=[503] * 9)

    with pytest.raises(FetchFailed, match="503"):
        fetch_all([artifact], store, client)
    assert len(server.asked()) == client.retry.attempts


def test_a_refusal_is_final(server: Loopback, store: Store, client: HttpClient) -> None:
    """A 404 is not asked for again."""
    artifact = replace(server.artifact("a.whl", b"a"), url=f"{server.url}/gone.whl")

    with pytest.raises(FetchFailed, match="404"):
        fetch_all([artifact], store, client)
    assert len(server.asked()) == 1


def test_a_cut_is_resumed(server: Loopback, store: Store, client: HttpClient, noise: Any) -> None:
    """After cuts only the missing bytes are asked for, however many cuts there are as long as it goes on."""
    data = noise(6 * MIB)
    artifact = server.artifact("a.whl", data, cuts=[MIB] * 5)

    fetch_all([artifact], store, client)

    assert store.path(artifact.sha256).read_bytes() == data
    ranges = [request.headers.get("Range") for request in server.asked()]
    assert ranges[0] is None
    assert all(value and value != "bytes=0-" for value in ranges[1:])
    assert sum(request.sent for request in server.asked()) <= len(data) + 5 * 4 * PIECE


def test_a_changed_file_is_fetched_anew(server: Loopback, store: Store, client: HttpClient, noise: Any) -> None:
    """When the ETag changed between two attempts, nothing of the old bytes is used."""
    data = noise(MIB)
    artifact = server.artifact("a.whl", data)
    with claim(store, artifact.sha256, lambda: False) as partial:
        assert partial is not None
        partial.restart('"old"')
        partial.append(b"other bytes" * 1000)

    fetch_all([artifact], store, client)

    assert store.path(artifact.sha256).read_bytes() == data
    assert server.asked()[0].headers["If-Range"] == '"old"'
    assert len(server.asked()) == 1


def test_a_bad_seam_gets_one_more_chance(server: Loopback, store: Store, client: HttpClient, noise: Any) -> None:
    """Leftovers that do not fit the rest, with no validator to tell, are dropped and the file is fetched whole."""
    data = noise(MIB)
    artifact = server.artifact("a.whl", data, etag="")
    with claim(store, artifact.sha256, lambda: False) as partial:
        assert partial is not None
        partial.append(b"x" * 5000)

    fetch_all([artifact], store, client)

    assert store.path(artifact.sha256).read_bytes() == data


def test_a_server_without_ranges_starts_over(server: Loopback, store: Store, client: HttpClient, noise: Any) -> None:
    """A server that ignores Range after a cut sends the whole file, and that is what is kept."""
    data = noise(2 * MIB)
    artifact = server.artifact("a.whl", data, ranges=False, cuts=[MIB])

    fetch_all([artifact], store, client)

    assert store.path(artifact.sha256).read_bytes() == data


def test_too_much_left_over_starts_over(server: Loopback, store: Store, client: HttpClient) -> None:
    """Leftovers longer than the file (416) do not stop it."""
    artifact = server.artifact("a.whl", b"short", size=False)
    with claim(store, artifact.sha256, lambda: False) as partial:
        assert partial is not None
        partial.append(b"much longer than that")

    fetch_all([artifact], store, client)

    assert store.path(artifact.sha256).read_bytes() == b"short"


def test_a_complete_leftover_needs_no_request(server: Loopback, store: Store, client: HttpClient) -> None:
    """A download that was killed after its last byte is taken as it is."""
    artifact = server.artifact("a.whl", b"complete")
    with claim(store, artifact.sha256, lambda: False) as partial:
        assert partial is not None
        partial.append(b"complete")

    fetch_all([artifact], store, client)

    assert store.has(artifact.sha256)
    assert server.requests == []


def test_wrong_bytes_are_never_kept(server: Loopback, store: Store, client: HttpClient) -> None:
    """A wrong hash names file, expected, got and URL, and leaves nothing behind."""
    artifact = server.artifact("a.whl", b"right")
    server.pages["/a.whl"].data = b"wrong"
    got = hashlib.sha256(b"wrong").hexdigest()

    with pytest.raises(DigestMismatch) as caught:
        fetch_all([artifact], store, client)

    for part in ("a.whl", artifact.sha256, got, artifact.url):
        assert part in caught.value.message
    assert leftovers(store) == []
    assert not store.has(artifact.sha256)
    assert not store.has(got)
    assert len(server.asked()) == 1


def test_an_endless_file_is_stopped(server: Loopback, store: Store, client: HttpClient, noise: Any) -> None:
    """A file longer than the lock says is given up at that size, not downloaded to its end."""
    artifact = server.artifact("a.whl", b"x" * 1000)
    server.pages["/a.whl"].data = noise(8 * MIB)

    with pytest.raises(DigestMismatch, match="goes on after 1000 bytes"):
        fetch_all([artifact], store, client)
    assert leftovers(store) == []


def test_a_quiet_early_end_is_a_cut(server: Loopback, store: Store, client: HttpClient, noise: Any) -> None:
    """Without Content-Length an early end looks complete; the lock's size tells that it is not."""
    data = noise(MIB)
    artifact = server.artifact("a.whl", data, length=False, cuts=[300_000])

    fetch_all([artifact], store, client)

    assert store.path(artifact.sha256).read_bytes() == data


def test_redirects_are_followed(server: Loopback, store: Store, client: HttpClient) -> None:
    """A file may lie elsewhere."""
    artifact = server.artifact("a.whl", b"a", redirect="/elsewhere")
    server.add("/elsewhere", b"a")

    fetch_all([artifact], store, client)

    assert store.has(artifact.sha256)


def test_a_redirect_to_a_local_file_is_refused(
    server: Loopback, store: Store, client: HttpClient, tmp_path: Path
) -> None:
    """A server cannot make us read our own disk."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"a")
    artifact = server.artifact("a.whl", b"a", redirect=secret.as_uri())

    with pytest.raises(FetchFailed):
        fetch_all([artifact], store, client)
    assert not store.has(artifact.sha256)


def test_all_failures_are_reported_together(server: Loopback, store: Store, client: HttpClient) -> None:
    """One run tells of every file that failed, fetches the others, and wrong bytes give the exit code."""
    good = server.artifact("good.whl", b"good")
    wrong = server.artifact("wrong.whl", b"right")
    server.pages["/wrong.whl"].data = b"wrong"
    gone = replace(server.artifact("gone.whl", b"gone"), url=f"{server.url}/nowhere")

    with pytest.raises(DigestMismatch) as caught:
        fetch_all([gone, good, wrong], store, client)

    text = "\n".join(str(problem) for problem in caught.value.problems)
    assert len(caught.value.problems) == 2
    assert "wrong.whl" in text
    assert "/nowhere" in text
    assert store.has(good.sha256)


def test_the_second_url_helps(server: Loopback, store: Store, client: HttpClient) -> None:
    """A file with two URLs is had from the second when the first fails."""
    good = server.artifact("a.whl", b"a")
    gone = replace(good, url=f"{server.url}/nowhere")

    fetch_all([gone, good], store, client)

    assert store.has(good.sha256)


def test_a_lock_without_hash_is_refused(server: Loopback, store: Store, client: HttpClient) -> None:
    """Something that is no SHA-256 is never used as a name in the store."""
    artifact = replace(server.artifact("a.whl", b"a"), sha256="../../escape")

    with pytest.raises(FetchFailed, match="no SHA-256"):
        fetch_all([artifact], store, client)


def test_local_files_are_fetched_too(store: Store, client: HttpClient, tmp_path: Path) -> None:
    """A file: URL works as any other."""
    path = tmp_path / "a file.whl"
    path.write_bytes(b"local")
    digest = hashlib.sha256(b"local").hexdigest()

    fetch_one(Artifact(name=path.name, url=path.as_uri(), sha256=digest, size=5), store, client)

    assert store.path(digest).read_bytes() == b"local"
    assert path.read_bytes() == b"local"


def test_an_empty_file_is_fetched(server: Loopback, store: Store, client: HttpClient) -> None:
    """Zero bytes are a file too."""
    artifact = server.artifact("empty", b"")

    fetch_all([artifact], store, client)

    assert store.size(artifact.sha256) == 0


def test_events_add_up(server: Loopback, store: Store, client: HttpClient, events: list[Event], noise: Any) -> None:
    """The bytes told add up to the total told at the start, cuts included; unknown sizes are asked for."""
    known = server.artifact("a.whl", noise(MIB), cuts=[300_000])
    unknown = server.artifact("b.whl", noise(MIB)[::-1], size=False)

    fetch_all([known, unknown], store, client, events.append)

    started = next(event for event in events if isinstance(event, StageStarted))
    ended = next(event for event in events if isinstance(event, StageFinished))
    assert (started.total, started.unit) == (2 * MIB, "bytes")
    assert sum(event.amount for event in events if isinstance(event, StageAdvanced)) == 2 * MIB
    assert (ended.items, ended.reused, ended.size) == (2, 0, 2 * MIB)
    assert {event.item for event in events if isinstance(event, ItemFinished)} == {"a.whl", "b.whl"}


def test_two_runs_at_once_share_the_work(server: Loopback, store: Store, noise: Any) -> None:
    """Two fetches of one file at the same time transfer it once, and both end well."""
    artifact = server.artifact("a.whl", noise(MIB), pause=0.01)
    failures: list[BundlerError] = []

    def run() -> None:
        try:
            with HttpClient() as own:
                fetch_all([artifact], store, own)
        except BundlerError as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(server.asked()) == 1
    assert leftovers(store) == []


CHILD = """
import sys
from pathlib import Path
from bundler.model.lock import Artifact
from bundler.sources.credentials import Credentials
from bundler.sources.fetch import fetch_all
from bundler.sources.http import HttpClient
from bundler.sources.retry import Retry
from bundler.store.cas import Store
url, sha256, size, root = sys.argv[1:]
fetch_all([Artifact(name="a.whl", url=url, sha256=sha256, size=int(size))], Store(Path(root)), HttpClient())
"""


@pytest.mark.slow
def test_a_killed_fetch_is_resumed(server: Loopback, store: Store, client: HttpClient, noise: Any) -> None:
    """After kill -9 half-way the next run asks for fewer bytes than the file has."""
    data = noise(16 * MIB)
    artifact = server.artifact("a.whl", data, pause=0.01)
    command = [sys.executable, "-c", CHILD, artifact.url, artifact.sha256, str(len(data)), str(store.root)]
    child = subprocess.Popen(command)
    partial = store.tmp / f"fetch-{artifact.sha256}"
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size > 4 * MIB):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    server.pages["/a.whl"].pause = 0.0
    before = len(server.asked())

    fetch_all([artifact], Store(store.root), client)

    again = [request for request in server.asked() if "Range" in request.headers]
    assert store.path(artifact.sha256).read_bytes() == data
    assert len(server.asked()) >= before
    assert [request.sent <= 12 * MIB for request in again] == [True]


def test_a_full_disk_says_so(
    server: Loopback, store: Store, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC is told as missing room, not as a failed download."""

    def full(_self: Partial, _piece: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    artifact = server.artifact("a.whl", b"a" * 100)
    monkeypatch.setattr(Partial, "append", full)

    with pytest.raises(SpaceError, match="no room"):
        fetch_all([artifact], store, client)


def test_a_password_is_found_nowhere(server: Loopback, store: Store, tmp_path: Path, events: list[Event]) -> None:
    """A fetch with a password leaves it neither in the store nor in events nor in the error of a later refusal."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cret-word\n")
    netrc.chmod(0o600)
    good = server.artifact("good.whl", b"good", login="me:s3cret-word")
    cut = server.artifact("cut.whl", b"c" * 200_000, login="me:s3cret-word", cuts=[100_000] * 9, ranges=False)
    known = Credentials(environ={"NETRC": str(netrc)})

    with HttpClient(credentials=known, retry=Retry(attempts=2, base=0.01)) as client:
        fetch_all([good], store, client, events.append)
        with pytest.raises(FetchFailed) as caught:
            fetch_all([cut], store, client, events.append)

    shown = repr(events) + repr(caught.value) + repr(caught.value.__cause__) + caught.value.hint
    assert "s3cret-word" not in shown
    held = [path for path in store.root.rglob("*") if path.is_file()]
    assert len(held) >= 2
    assert [path for path in held if b"s3cret-word" in path.read_bytes()] == []


@pytest.mark.slow
def test_an_interrupt_stops_soon_and_keeps_what_came(server: Loopback, store: Store, noise: Any) -> None:
    """Ctrl-C ends a fetch within moments; the bytes so far stay for the next run."""
    data = noise(8 * MIB)
    artifact = server.artifact("a.whl", data, pause=0.02)
    command = [sys.executable, "-c", CHILD, artifact.url, artifact.sha256, str(len(data)), str(store.root)]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    partial = store.tmp / f"fetch-{artifact.sha256}"
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size > MIB):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)

    assert child.wait(timeout=2) != 0
    assert MIB < partial.stat().st_size < len(data)

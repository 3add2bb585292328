"""Metadata of wheels that are not here yet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.errors import FetchFailed, MetadataError
from bundler.model.lock import Artifact
from bundler.sources.fetch import fetch_all
from bundler.sources.http import HttpClient
from bundler.sources.metadata import check_metadata, metadata_many, wheel_metadata
from bundler.sources.metadata_cache import recall
from bundler.sources.range_file import TAIL
from bundler.store.cas import Store

if TYPE_CHECKING:
    from tests.sources.conftest import Loopback, Wheels

NAME = "demo-1.0-py3-none-any.whl"
MIB = 1 << 20


def test_ranges_suffice(server: Loopback, store: Store, client: HttpClient, wheels: Wheels) -> None:
    """Of a large wheel with thousands of members only a little is read, in few requests."""
    data = wheels.make(padding=8 * MIB, files=3000)
    artifact = server.artifact(NAME, data)

    found = wheel_metadata(artifact, store, client)

    assert found.startswith(b"Metadata-Version: 2.1\nName: demo\n")
    reads = [request for request in server.asked() if "Range" in request.headers]
    assert len(reads) <= 3
    assert sum(request.sent for request in reads) < len(data) // 10
    assert not store.has(artifact.sha256)


def test_a_small_wheel_is_one_request(server: Loopback, store: Store, client: HttpClient, wheels: Wheels) -> None:
    """Directory and metadata of an ordinary wheel are in its tail."""
    data = wheels.make(padding=MIB, files=50)
    artifact = server.artifact(NAME, data)
    client.lacking.add(("PEP 658", ("http", "127.0.0.1", server.server_port)))

    wheel_metadata(artifact, store, client)

    assert [request.sent for request in server.asked()] == [TAIL]


def test_it_is_remembered(server: Loopback, store: Store, client: HttpClient, wheels: Wheels) -> None:
    """The second question is answered from the store, also in another run."""
    artifact = server.artifact(NAME, wheels.make())
    first = wheel_metadata(artifact, store, client)
    server.requests.clear()

    assert wheel_metadata(artifact, Store(store.root), client) == first
    assert server.requests == []


def test_pep_658_is_preferred(server: Loopback, store: Store, client: HttpClient, wheels: Wheels) -> None:
    """Where the server has the metadata as a file, the wheel is not touched."""
    artifact = server.artifact(NAME, wheels.make())
    server.add(f"/{NAME}.metadata", b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")

    assert wheel_metadata(artifact, store, client).endswith(b"Version: 1.0\n")
    assert [request.path for request in server.asked()] == [f"/{NAME}.metadata"]


def test_a_host_without_pep_658_is_asked_once(
    server: Loopback, store: Store, client: HttpClient, wheels: Wheels
) -> None:
    """After the first 404 a host is not asked for metadata files again."""
    artifacts = [
        server.artifact(f"p{number}-1.0-py3-none-any.whl", wheels.make(f"p{number}")) for number in range(40)
    ]

    found = metadata_many(artifacts, store, client)

    assert len(found) == 40
    assert sum(request.path.endswith(".metadata") for request in server.requests) == 1


def test_an_error_page_is_no_metadata(server: Loopback, store: Store, client: HttpClient, wheels: Wheels) -> None:
    """A server that answers everything with a page of its own does not fool us."""
    artifact = server.artifact(NAME, wheels.make())
    server.add(f"/{NAME}.metadata", b"<html>welcome</html>")

    assert wheel_metadata(artifact, store, client).startswith(b"Metadata-Version")


def test_without_ranges_the_wheel_is_fetched(
    server: Loopback, store: Store, client: HttpClient, wheels: Wheels
) -> None:
    """A server without ranges costs the whole wheel, which is then in the store."""
    artifact = server.artifact(NAME, wheels.make(), ranges=False)

    assert wheel_metadata(artifact, store, client).startswith(b"Metadata-Version")
    assert store.has(artifact.sha256)


def test_a_wheel_in_the_store_needs_no_server(store: Store, client: HttpClient, wheels: Wheels) -> None:
    """What is here is read here."""
    blob = store.put(wheels.make())
    artifact = Artifact(name=NAME, url="http://127.0.0.1:1/x", sha256=blob.digest)

    assert wheel_metadata(artifact, store, client).startswith(b"Metadata-Version")


def test_local_wheels(store: Store, client: HttpClient, wheels: Wheels, tmp_path: Path) -> None:
    """A wheel of a local folder is read in place."""
    path = tmp_path / NAME
    path.write_bytes(wheels.make(padding=MIB))

    data = wheel_metadata(Artifact(name=NAME, url=path.as_uri(), sha256="a" * 64), store, client)

    assert data.startswith(b"Metadata-Version")


def test_odd_names_and_bytes(server: Loopback, store: Store, client: HttpClient, wheels: Wheels) -> None:
    """A dist-info directory with unusual spelling, and text that is no UTF-8, come through as they are."""
    text = b"Metadata-Version: 2.1\nName: Demo.X\nVersion: 1.0\nAuthor: J\xf6rg\n"
    artifact = server.artifact("demo_x-1.0-py3-none-any.whl", wheels.make(info="Demo.X-1.0", metadata=text))

    assert wheel_metadata(artifact, store, client) == text
    assert wheel_metadata(artifact, store, client) == text


@pytest.mark.parametrize("data", [b"", b"no zip at all", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_wheel(server: Loopback, store: Store, client: HttpClient, data: bytes) -> None:
    """An unreadable wheel is named with its URL."""
    artifact = server.artifact(NAME, data)

    with pytest.raises(MetadataError, match=NAME):
        wheel_metadata(artifact, store, client)


def test_all_failures_together(server: Loopback, store: Store, client: HttpClient, wheels: Wheels) -> None:
    """Every wheel without readable metadata is reported, the others are read and remembered."""
    good = server.artifact(NAME, wheels.make())
    bad = server.artifact("bad-1.0-py3-none-any.whl", b"bad")
    gone = replace(good, url=f"{server.url}/gone.whl", sha256="b" * 64)

    with pytest.raises((MetadataError, FetchFailed)) as caught:
        metadata_many([good, bad, gone], store, client)

    assert len(caught.value.problems) == 2
    assert recall(store, good.sha256) is not None


def test_the_size_is_learnt(server: Loopback, store: Store, client: HttpClient, wheels: Wheels) -> None:
    """Reading by ranges tells the wheel's size, so that the fetch need not ask for it."""
    data = wheels.make(padding=MIB)
    artifact = server.artifact(NAME, data, size=False)

    wheel_metadata(artifact, store, client)
    cached = recall(store, artifact.sha256)
    fetch_all([artifact], store, client)

    assert cached is not None
    assert cached.size == len(data)
    assert server.asked("HEAD") == []


def test_lying_metadata_is_found(server: Loopback, store: Store, client: HttpClient, wheels: Wheels) -> None:
    """Metadata that differs from the fetched wheel's is refused once, and the right one is used from then on."""
    artifact = server.artifact(NAME, wheels.make())
    server.add(f"/{NAME}.metadata", b"Metadata-Version: 2.1\nName: demo\nVersion: 6.66\n")
    wheel_metadata(artifact, store, client)
    fetch_all([artifact], store, client)

    with pytest.raises(MetadataError, match="other metadata"):
        check_metadata(artifact, store)
    assert b"Version: 1.0" in check_metadata(artifact, store)
    assert b"Version: 1.0" in wheel_metadata(artifact, store, client)


def test_honest_metadata_passes(server: Loopback, store: Store, client: HttpClient, wheels: Wheels) -> None:
    """What ranges gave equals what the wheel has."""
    artifact = server.artifact(NAME, wheels.make(padding=MIB, files=2000))
    read = wheel_metadata(artifact, store, client)
    fetch_all([artifact], store, client)

    assert check_metadata(artifact, store) == read

"""Core metadata of remote wheels without downloading them.

In this order: remembered, the wheel itself if it is in the store, PEP 658 (``<url>.metadata``), two or three ranged
reads of the zip file, the whole wheel. What ranges and PEP 658 gave is compared with the wheel once that is here
(:func:`check_metadata`).
"""

from __future__ import annotations

import re
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, cast

from packaging.utils import canonicalize_name

from bundler.errors import FetchFailed, MetadataError
from bundler.model.lock import Artifact
from bundler.sources.credentials import origin, redact_url
from bundler.sources.fetch import combine, fetch_one, run_all
from bundler.sources.http import HttpClient
from bundler.sources.metadata_cache import CachedMetadata, recall, remember
from bundler.sources.range_file import RangeFile, RangesRefused
from bundler.store.cas import Store

#: No METADATA is longer: a bound against bombs.
LONGEST = 8 << 20
_MEMBER = re.compile(r"([^/]+)-[^/-]+\.dist-info/METADATA")
_LOCAL_HEADER = 30
_SIDECAR, _RANGES = "PEP 658", "ranges"


def wheel_metadata(artifact: Artifact, store: Store, client: HttpClient) -> bytes:
    """Return the METADATA file of a wheel.

    Raises:
        MetadataError: It is no wheel, or holds no metadata.
        FetchFailed: It cannot be had.
        DigestMismatch: The whole wheel had to be fetched and is not what was named.
    """
    cached = recall(store, artifact.sha256)
    if cached is None:
        cached = _read(artifact, store, client)
        remember(store, artifact.sha256, cached)
    return cached.data


def metadata_many(
    artifacts: Iterable[Artifact], store: Store, client: HttpClient, workers: int = 16
) -> dict[str, bytes]:
    """Return the METADATA of every wheel by the wheel's SHA-256, read in parallel.

    Raises:
        MetadataError: As for :func:`wheel_metadata`; so do FetchFailed and DigestMismatch. ``problems`` lists all.
    """
    wanted = {artifact.sha256: artifact for artifact in artifacts}
    found: dict[str, bytes] = {}

    def read(artifact: Artifact) -> None:
        found[artifact.sha256] = wheel_metadata(artifact, store, client)

    # The first of each host tells what the host can do; the others then need not ask.
    firsts = {
        origin(artifact.url): artifact for artifact in wanted.values() if recall(store, artifact.sha256) is None
    }
    rounds = (list(firsts.values()), [artifact for artifact in wanted.values() if artifact not in firsts.values()])
    failures = []
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="metadata") as pool:
        for batch in rounds:
            failures += run_all(pool, threading.Event(), [(read, artifact) for artifact in batch])
    if failures:
        raise combine(failures, "packages have no metadata that can be read")
    return found


def check_metadata(artifact: Artifact, store: Store) -> bytes:
    """Return the METADATA of a wheel that is in the store, compared with what was read before it was.

    Raises:
        MetadataError: They differ: the lock was made from other metadata. The right one is remembered now.
    """
    cached = recall(store, artifact.sha256)
    if cached is not None and cached.checked:
        return cached.data
    right = _from_store(artifact, store)
    remember(store, artifact.sha256, right)
    if cached is not None and cached.data != right.data:
        raise MetadataError(
            f"{artifact.name}: the server gave other metadata than the wheel holds ({redact_url(artifact.url)})",
            hint="lock again: the wheel's own metadata is used now",
        )
    return right.data


def _read(artifact: Artifact, store: Store, client: HttpClient) -> CachedMetadata:
    if store.has(artifact.sha256):
        return _from_store(artifact, store)
    found = _from_sidecar(artifact, client) or _from_ranges(artifact, client)
    if found is not None:
        return found
    fetch_one(artifact, store, client)
    return _from_store(artifact, store)


def _from_store(artifact: Artifact, store: Store) -> CachedMetadata:
    with store.open(artifact.sha256) as file:
        data = _from_zip(artifact, file)
    return CachedMetadata(data=data, size=store.size(artifact.sha256), checked=True)


def _from_sidecar(artifact: Artifact, client: HttpClient) -> CachedMetadata | None:
    key = (_SIDECAR, origin(artifact.url))
    if artifact.url.startswith("file:") or key in client.lacking:
        return None
    try:
        data = client.get(f"{artifact.url.partition('#')[0]}.metadata", limit=LONGEST)
    except FetchFailed:
        client.lacking.add(key)
        return None
    if b"metadata-version:" not in data[:4096].lower():
        client.lacking.add(key)
        return None
    return CachedMetadata(data=data, size=artifact.size)


def _from_ranges(artifact: Artifact, client: HttpClient) -> CachedMetadata | None:
    key = (_RANGES, origin(artifact.url))
    if key in client.lacking:
        return None
    try:
        file = RangeFile(lambda start, stop: client.ranged(artifact.url, start, stop))
        return CachedMetadata(data=_from_zip(artifact, cast("IO[bytes]", file), file.prefetch), size=file.size)
    except RangesRefused:
        client.lacking.add(key)
        return None


def _from_zip(
    artifact: Artifact, file: IO[bytes], prefetch: Callable[[int, int], None] = lambda _start, _stop: None
) -> bytes:
    try:
        with zipfile.ZipFile(file) as archive:
            member = _member(artifact, archive)
            name = len(member.orig_filename.encode("utf-8"))
            # The local header's extra field may be longer than the central one's: some room for it.
            length = _LOCAL_HEADER + name + len(member.extra) + member.compress_size + 256
            prefetch(member.header_offset, member.header_offset + length)
            with archive.open(member) as content:
                data = content.read(LONGEST + 1)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OSError,
    ) as error:
        raise _bad(artifact, f"cannot be read as a wheel: {error}") from error
    if len(data) > LONGEST:
        raise _bad(artifact, f"its METADATA is longer than {LONGEST} bytes")
    return data


def _member(artifact: Artifact, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    found = [(match, info) for info in archive.infolist() if (match := _MEMBER.fullmatch(info.filename))]
    if len(found) > 1:
        project = canonicalize_name(artifact.name.partition("-")[0])
        found = [(match, info) for match, info in found if canonicalize_name(match.group(1)) == project]
    if len(found) != 1:
        raise _bad(artifact, "holds no METADATA file of its own")
    return found[0][1]


def _bad(artifact: Artifact, what: str) -> MetadataError:
    return MetadataError(
        f"{artifact.name} ({redact_url(artifact.url)}) {what}", hint="choose another version, or tell its maintainers"
    )

"""Get every file of a lock into the store: once, in parallel, resumed after a cut, hashed while it streams."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

import httpx

from bundler.clock import stopwatch
from bundler.errors import (
    BundlerError,
    DigestMismatch,
    FetchFailed,
    InterruptedByUser,
    Problem,
    ResolveError,
    SourceError,
)
from bundler.events import Emit, ItemFinished, ItemStarted, StageAdvanced, StageFinished, StageStarted, ignore
from bundler.model.lock import Artifact
from bundler.sources.credentials import redact_url
from bundler.sources.http import HttpClient, content_range
from bundler.sources.metadata_cache import recall
from bundler.sources.partial import Partial, claim
from bundler.sources.retry import Transient, persist
from bundler.store.cas import Blob, Store

STAGE = "fetch"
#: As much as a cut may lose.
PIECE = 64 << 10
#: Nothing that is fetched may be longer, whatever a server sends.
LONGEST = 16 << 30
#: An attempt that brought this much counts as progress.
_PROGRESS = 64 << 10
_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch_all(
    artifacts: Iterable[Artifact], store: Store, client: HttpClient, emit: Emit = ignore, workers: int = 8
) -> dict[str, Blob]:
    """Bring every distinct file into the store and return the blobs by SHA-256.

    What is in the store is not fetched again; a file named twice is tried from each of its URLs.

    Raises:
        DigestMismatch: A file is not what the lock names; it was not kept.
        FetchFailed: Files cannot be had. ``problems`` lists all of both kinds where there are several.
        SpaceError: There is no room left.
    """
    began = stopwatch()
    wanted = _by_digest(artifacts)
    missing = {digest: group for digest, group in wanted.items() if not store.has(digest)}
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="fetch") as pool:
        total = _total(missing, store, client, pool)
        emit(StageStarted(stage=STAGE, total=total, unit="bytes"))
        job = FetchJob(store=store, client=client, emit=emit)
        failures = run_all(pool, job.stop, [(job.fetch, group) for group in missing.values()])
    if failures:
        raise combine(failures, "files could not be fetched")
    blobs = {digest: Blob(digest=digest, size=store.size(digest)) for digest in wanted}
    emit(
        StageFinished(
            stage=STAGE,
            seconds=stopwatch() - began,
            items=len(wanted),
            reused=len(wanted) - len(missing),
            size=sum(blobs[digest].size for digest in missing),
        )
    )
    return blobs


def fetch_one(artifact: Artifact, store: Store, client: HttpClient) -> Blob:
    """Bring one file into the store; errors as :func:`fetch_all`."""
    _by_digest([artifact])
    FetchJob(store=store, client=client, emit=ignore).fetch((artifact,))
    return Blob(digest=artifact.sha256, size=store.size(artifact.sha256))


def run_all(
    pool: ThreadPoolExecutor,
    stop: threading.Event,
    tasks: Sequence[tuple[Callable[..., object], object]],
) -> list[BundlerError]:
    """Run every task with its argument and return the failures of items, in the order of the tasks.

    Anything that is not one item's fault (a full disk, Ctrl-C) stops all at once and is raised.
    """
    futures: list[Future[object]] = [pool.submit(function, argument) for function, argument in tasks]
    try:
        for future in as_completed(futures):
            error = future.exception()
            if not isinstance(error, (SourceError, ResolveError)):
                future.result()
    except BaseException:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return [error for future in futures if isinstance(error := future.exception(), BundlerError)]


def combine(failures: Sequence[BundlerError], what: str) -> BundlerError:
    """Return one error for several; wrong bytes are graver than missing ones."""
    if len(failures) == 1:
        return failures[0]
    gravest = max(failures, key=lambda error: isinstance(error, DigestMismatch))
    problems = [Problem(where="", what=error.message, hint=error.hint) for error in failures]
    return type(gravest)(f"{len(failures)} {what}", problems=problems)


@dataclass(frozen=True, kw_only=True)
class FetchJob:
    """What the workers of one run share."""

    store: Store
    client: HttpClient
    emit: Emit = ignore
    stop: threading.Event = field(default_factory=threading.Event)

    def fetch(self, group: Sequence[Artifact]) -> None:
        """Bring one file in from the first of its URLs that has it."""
        note = "failed"
        self.emit(ItemStarted(stage=STAGE, item=group[0].name))
        try:
            with claim(self.store, group[0].sha256, self.stop.is_set) as partial:
                note = "fetched by another run" if partial is None else self._from_any(group, partial)
        finally:
            self.emit(ItemFinished(stage=STAGE, item=group[0].name, note=note))

    def _from_any(self, group: Sequence[Artifact], partial: Partial) -> str:
        resumed = partial.size > 0
        self._advance(partial.size)
        for artifact in group[:-1]:
            with contextlib.suppress(SourceError):
                self._download(artifact, partial)
                break
        else:
            self._download(group[-1], partial)
        partial.finish(self.store)
        return "resumed" if resumed else ""

    def _download(self, artifact: Artifact, partial: Partial) -> None:
        """Download until the digest is right; wrong bytes of more than one attempt get one more chance."""
        for _chance in range(2):
            if not partial.size or partial.digest != artifact.sha256:
                persist(self.client.retry, lambda: self._attempt(artifact, partial), self.stop)
            if partial.digest == artifact.sha256:
                return
            got, size, spliced = partial.digest, partial.size, partial.spliced
            self._restart(partial)
            if not spliced:
                break
        raise _mismatch(artifact, f"got sha256 {got} ({size} bytes)")

    def _attempt(self, artifact: Artifact, partial: Partial) -> None:
        if artifact.size is not None and partial.size >= artifact.size:
            self._restart(partial)
        headers = {"Range": f"bytes={partial.size}-", "If-Range": partial.tag} if partial.size else {}
        before = partial.size
        try:
            with self.client.stream(
                artifact.url, {name: value for name, value in headers.items() if value}
            ) as response:
                self._begin(artifact, response, partial)
                self._receive(artifact, response, partial)
        except Transient as cut:
            cut.progressed = partial.size - before >= _PROGRESS
            raise
        finally:
            partial.flush()

    def _begin(self, artifact: Artifact, response: httpx.Response, partial: Partial) -> None:
        """Make ``partial`` end where the response's body starts."""
        span = content_range(response)
        if response.status_code == httpx.codes.OK:
            self._restart(partial, _validator(response))
        elif partial.size and span is not None and span[0] == partial.size:
            partial.spliced = True
        else:
            self._restart(partial)
            raise Transient(FetchFailed(f"{redact_url(artifact.url)}: the server does not send the range asked for"))

    def _receive(self, artifact: Artifact, response: httpx.Response, partial: Partial) -> None:
        limit = LONGEST if artifact.size is None else artifact.size
        for piece in response.iter_raw(PIECE):
            if self.stop.is_set():
                raise InterruptedByUser("stopped while fetching", hint="run again: it goes on from here")
            partial.append(piece)
            self._advance(len(piece))
            if partial.size > limit:
                self._restart(partial)
                raise _mismatch(artifact, f"it goes on after {limit} bytes")
        if artifact.size is not None and partial.size < artifact.size:
            text = f"{redact_url(artifact.url)}: ended after {partial.size} of {artifact.size} bytes"
            raise Transient(_mismatch(artifact, text))

    def _restart(self, partial: Partial, tag: str = "") -> None:
        self._advance(-partial.size)
        partial.restart(tag)

    def _advance(self, amount: int) -> None:
        if amount:
            self.emit(StageAdvanced(stage=STAGE, amount=amount))


def _validator(response: httpx.Response) -> str:
    """Return what If-Range may be sent with (RFC 9110 §13.1.5): a strong ETag, else the date."""
    tag: str = response.headers.get("etag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("last-modified", "")


def _mismatch(artifact: Artifact, got: str) -> DigestMismatch:
    size = "" if artifact.size is None else f" ({artifact.size} bytes)"
    return DigestMismatch(
        f"{artifact.name} is not what the lock names: expected sha256 {artifact.sha256}{size}, {got}, "
        f"from {redact_url(artifact.url)}",
        hint="the file was not kept; find out who changed it, or lock again",
    )


def _by_digest(artifacts: Iterable[Artifact]) -> dict[str, tuple[Artifact, ...]]:
    groups: dict[str, dict[str, Artifact]] = {}
    for artifact in artifacts:
        if not _SHA256.fullmatch(artifact.sha256):
            raise FetchFailed(f"{artifact.name} has no SHA-256 in the lock", hint="lock again")
        groups.setdefault(artifact.sha256, {}).setdefault(artifact.url, artifact)
    return {digest: tuple(group.values()) for digest, group in groups.items()}


def _total(
    missing: Mapping[str, Sequence[Artifact]], store: Store, client: HttpClient, pool: ThreadPoolExecutor
) -> int | None:
    """Return the bytes to fetch, asking servers for sizes that nobody knows; None where one does not tell."""

    def size(group: Sequence[Artifact]) -> int | None:
        artifact = group[0]
        if artifact.size is not None:
            return artifact.size
        cached = recall(store, artifact.sha256)
        return cached.size if cached and cached.size else client.size(artifact.url)

    sizes = list(pool.map(size, missing.values()))
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None

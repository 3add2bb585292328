"""Feed a verification from a medium: each byte is read once, several files at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Protocol, TypeAlias, cast

from bundler.bundle.layout import BUNDLE_JSON, SIGNATURE, SUMS
from bundler.bundle.medium import Medium, read_bounded, reading
from bundler.bundle.verification import FileCheck, Verification
from bundler.clock import stopwatch
from bundler.errors import FormatError
from bundler.events import Emit, StageAdvanced, StageFinished, StageStarted
from bundler.model.contents import MAX_BUNDLE_JSON, MAX_SIGNATURE, MAX_SIGNATURES, MAX_SUMS, Contents
from bundler.signing.trust import Judge, Policy

#: More threads than this only make a stick seek.
MAX_WORKERS = 4
#: Read at a time, into one buffer per thread. Hashing lets other threads run meanwhile.
PIECE = 1 << 20

Progress: TypeAlias = Callable[[int], None]
#: Takes a file's bytes as they are read, for example to write them down; each piece is valid until the next one.
Pieces: TypeAlias = Iterator[memoryview]
#: Gets the names that are still missing; returns whether another medium came.
More: TypeAlias = Callable[[tuple[str, ...]], bool]


class Take(Protocol):
    """Consumes the pieces of one file, each of which was given to its check just before."""

    def __call__(self, check: FileCheck, pieces: Pieces, /) -> None:
        """Take all pieces; the file's check is finished by whoever calls."""


def default_workers() -> int:
    """Return how many files are hashed at a time."""
    return max(1, min(MAX_WORKERS, os.cpu_count() or 1))


def feed_trusted(verification: Verification, medium: Medium, policy: Policy, judge: Judge) -> dict[str, bytes]:
    """Feed list and signatures; return them by name as they were read.

    Raises:
        SignatureRefused: The quorum is not reached.
    """
    sums = read_bounded(medium, SUMS, MAX_SUMS)
    signatures = read_signatures(medium)
    verification.take_signatures(sums, signatures, policy, judge)
    return {SUMS: sums, **signatures}


def read_signatures(medium: Medium) -> dict[str, bytes]:
    """Return name → bytes of the signatures on a medium.

    Raises:
        FormatError: There are too many, or one is too large.
    """
    names = [name for name in medium.names() if SIGNATURE.fullmatch(name)]
    if len(names) > MAX_SIGNATURES:
        raise FormatError(f"more than {MAX_SIGNATURES} signatures")
    return {name: read_bounded(medium, name, MAX_SIGNATURE) for name in names}


def feed_unsigned(verification: Verification, medium: Medium) -> bytes:
    """Feed the list alone, for whoever is about to sign it, and return it."""
    sums = read_bounded(medium, SUMS, MAX_SUMS)
    verification.take_unsigned(sums)
    return sums


def feed_contents(verification: Verification, medium: Medium) -> tuple[Contents, bytes]:
    """Feed ``bundle.json``; return what it says and its bytes.

    Raises:
        BundleError: It is missing, not the listed one, or makes no sense.
    """
    data = read_bounded(medium, BUNDLE_JSON, MAX_BUNDLE_JSON)
    return verification.take_contents(data), data


def feed_names(verification: Verification, medium: Medium) -> None:
    """Feed the names on the medium.

    Raises:
        BundleError: Something is unlisted, or irregular.
    """
    names = medium.names()
    verification.take_names(names)
    # No name is opened for good before all are known to be regular files.
    for name in names:
        medium.size(name)


def coming_bytes(verification: Verification, medium: Medium) -> int:
    """Return how many bytes are left to read; of volumes on media to come the signed sizes count."""
    coming = {volume.name: volume.size for volume in verification.contents.volumes}
    missing = sum(coming.get(name, 0) for name in verification.missing)
    return missing + sum(medium.size(name) for name in verification.pending)


def feed_files(
    verification: Verification,
    medium: Medium,
    emit: Emit,
    *,
    stage: str = "verify",
    take: Take | None = None,
    more: More | None = None,
) -> int:
    """Feed every other file's bytes, largest first, some at a time; return how many. ``more`` brings further media.

    Raises:
        IntegrityError: A file is not what was signed, or cannot be read.
        FileMissing: No further medium came, and something is missing.
    """
    started = stopwatch()
    total, items = coming_bytes(verification, medium), 0
    emit(StageStarted(stage=stage, total=total, unit="bytes"))

    def progress(size: int) -> None:
        emit(StageAdvanced(stage=stage, amount=size))

    while True:
        items += _feed_round(verification, medium, progress, take or _only_hash)
        missing = verification.missing
        if not missing:
            break
        if more is None or not more(missing):
            verification.expect_all()
        feed_names(verification, medium)
    emit(StageFinished(stage=stage, seconds=stopwatch() - started, items=items, size=total))
    return total


def _feed_round(verification: Verification, medium: Medium, progress: Progress, take: Take) -> int:
    """Feed what is there; return how many files."""
    checks = [verification.check(name) for name in verification.pending]
    sizes = {check.name: medium.size(check.name) for check in checks}
    for check in checks:
        check.announce(sizes[check.name])
    checks.sort(key=lambda check: -sizes[check.name])
    stop = threading.Event()

    def feed(check: FileCheck) -> None:
        with medium.open(check.name) as file:
            take(check, _pieces(file, check, progress, stop))

    with ThreadPoolExecutor(max_workers=default_workers()) as pool:
        tasks = [pool.submit(feed, check) for check in checks]
        try:
            for task, check in zip(tasks, checks, strict=True):
                task.result()
                verification.accept(check)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return len(checks)


def _pieces(file: IO[bytes], check: FileCheck, progress: Progress, stop: threading.Event) -> Pieces:
    """Yield what is read of a file, each piece once its check has it."""
    buffer = memoryview(bytearray(PIECE))
    while size := _read(file, buffer, check.name):
        if stop.is_set():
            return
        piece = buffer[:size]
        check.update(piece)
        yield piece
        progress(size)


def _read(file: IO[bytes], buffer: memoryview, name: str) -> int:
    with reading(name):
        return cast("_Readable", file).readinto(buffer)


class _Readable(Protocol):
    def readinto(self, buffer: memoryview, /) -> int: ...


def _only_hash(_check: FileCheck, pieces: Pieces) -> None:
    for _ in pieces:
        pass

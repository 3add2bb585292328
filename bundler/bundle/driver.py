"""Feed a verification from a medium: each byte is read once, several files at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bundler.bundle.layout import BUNDLE_JSON, SIGNATURE, SUMS
from bundler.bundle.medium import Medium, read_bounded
from bundler.bundle.verification import FileCheck, Verification
from bundler.errors import FormatError
from bundler.files import chunks
from bundler.model.contents import MAX_BUNDLE_JSON, MAX_SIGNATURE, MAX_SIGNATURES, MAX_SUMS
from bundler.signing.trust import Judge, Policy

#: More threads than this only make a stick seek.
MAX_WORKERS = 4


def default_workers() -> int:
    """Return how many files are hashed at a time."""
    return max(1, min(MAX_WORKERS, os.cpu_count() or 1))


def feed_trusted(verification: Verification, medium: Medium, policy: Policy, judge: Judge) -> None:
    """Feed list and signatures.

    Raises:
        SignatureRefused: The quorum is not reached.
    """
    sums = read_bounded(medium, SUMS, MAX_SUMS)
    names = [name for name in medium.names() if SIGNATURE.fullmatch(name)]
    if len(names) > MAX_SIGNATURES:
        raise FormatError(f"more than {MAX_SIGNATURES} signatures")
    signatures = {name: read_bounded(medium, name, MAX_SIGNATURE) for name in names}
    verification.take_signatures(sums, signatures, policy, judge)


def feed_unsigned(verification: Verification, medium: Medium) -> bytes:
    """Feed the list alone, for whoever is about to sign it, and return it."""
    sums = read_bounded(medium, SUMS, MAX_SUMS)
    verification.take_unsigned(sums)
    return sums


def feed_meaning(verification: Verification, medium: Medium) -> int:
    """Feed names and ``bundle.json``; return how many bytes are left to hash.

    Raises:
        BundleError: Something is missing, unlisted, irregular or makes no sense.
    """
    verification.take_names(medium.names())
    # No name is opened for good before all are known to be regular files.
    sizes = {name: medium.size(name) for name in medium.names()}
    verification.take_contents(read_bounded(medium, BUNDLE_JSON, MAX_BUNDLE_JSON))
    return sum(sizes[name] for name in verification.pending)


def feed_files(verification: Verification, medium: Medium, workers: int, progress: Callable[[int], None]) -> None:
    """Feed every other file's bytes, largest first, ``workers`` at a time.

    Raises:
        IntegrityError: A file is not what was signed.
    """
    checks = [verification.check(name) for name in verification.pending]
    for check in checks:
        check.announce(medium.size(check.name))
    checks.sort(key=lambda check: -medium.size(check.name))
    with ThreadPoolExecutor(max_workers=workers) as pool:
        tasks = [pool.submit(_feed, medium, check, progress) for check in checks]
        try:
            for task, check in zip(tasks, checks, strict=True):
                task.result()
                verification.accept(check)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _feed(medium: Medium, check: FileCheck, progress: Callable[[int], None]) -> None:
    with medium.open(check.name) as file:
        for piece in chunks(file):
            check.update(piece)
            progress(len(piece))

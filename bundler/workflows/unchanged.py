"""Is the bundle that these inputs give there already? Then there is nothing to do but look at it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bundler.bundle.layout import SUMS
from bundler.errors import FormatError
from bundler.files import sha256_of
from bundler.model.sums import parse_sums
from bundler.store.cas import Store, key_of

_KIND = "bundle"
_PACKAGE = Path(__file__).parents[1]


def tree_digest(directory: Path, patterns: Sequence[str] = ("*",)) -> str:
    """Return a digest of the names and bytes of the files below ``directory`` that match."""
    files = sorted({path for pattern in patterns for path in directory.rglob(pattern) if path.is_file()})
    return key_of([(path.relative_to(directory).as_posix(), sha256_of(path)) for path in files])


def build_key(lock_dir: Path, manifest: str, *more: object) -> str:
    """Return the key of a whole build: the lock, the manifest, our own code, and the options that shape bytes."""
    own = tree_digest(_PACKAGE, ("*.py", "*.sh", "*.tmpl", "*.txt", "*.css", "*.js"))
    return key_of(_KIND, tree_digest(lock_dir), manifest, own, *more)


def remember_bundle(store: Store, key: str, bundle: Path) -> None:
    """Remember that these inputs gave this bundle."""
    store.remember(_KIND, key, {"sums": sha256_of(bundle / SUMS)})


def is_unchanged(store: Store, key: str, bundle: Path) -> bool:
    """Return whether ``bundle`` is what these inputs give, every byte of it."""
    known = store.recall(_KIND, key)
    if known is None or not (bundle / SUMS).is_file():
        return False
    data = (bundle / SUMS).read_bytes()
    if hashlib.sha256(data).hexdigest() != known["sums"]:
        return False
    try:
        sums = parse_sums(data)
        with ThreadPoolExecutor() as pool:
            found = dict(zip(sums, pool.map(lambda name: sha256_of(bundle / name), sums), strict=True))
    except (FormatError, OSError):
        return False
    return found == sums

"""Core metadata of locked packages, as locking learned it: wheels' by their digest, sources' by what they are of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bundler.model.lock import Artifact, GitSource, LockedPackage
from bundler.model.target import Target
from bundler.resolve.walk import CoreMeta, parse_core_metadata
from bundler.sources.metadata_cache import recall
from bundler.store.cas import Store, key_of

_KIND = "locked-metadata"


def remember_source(store: Store, package: LockedPackage, target: Target, data: bytes) -> None:
    """Remember METADATA that a source says its wheel for ``target`` will have."""
    store.remember(_KIND, _key(package, target), {"text": data.decode("utf-8", "surrogateescape")})


@dataclass(frozen=True, kw_only=True)
class LockedMetadata:
    """What is known here of locked packages; nothing is fetched, and no source is asked."""

    store: Store
    _known: dict[str, CoreMeta | None] = field(default_factory=dict)

    def of(self, target: Target) -> Callable[[LockedPackage], CoreMeta | None]:
        """Return how to ask for a package's metadata on ``target``; None is not known.

        Raises:
            MetadataError: From the callable: what is known does not parse.
        """
        return lambda package: self._read(package, target)

    def _read(self, package: LockedPackage, target: Target) -> CoreMeta | None:
        built = package.must_build or not isinstance(package.origin, Artifact)
        key = _key(package, target) if built else _digest(package)
        if key not in self._known:
            data = self._source(key) if built else self._wheel(key)
            what = f"{package.name} {package.version}"
            self._known[key] = None if data is None else parse_core_metadata(data, what)
        return self._known[key]

    def _wheel(self, sha256: str) -> bytes | None:
        cached = recall(self.store, sha256)
        return None if cached is None else cached.data

    def _source(self, key: str) -> bytes | None:
        value = self.store.recall(_KIND, key)
        text = value.get("text") if isinstance(value, dict) else None
        return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else None


def _digest(package: LockedPackage) -> str:
    return "" if isinstance(package.origin, GitSource) else package.origin.sha256


def _key(package: LockedPackage, target: Target) -> str:
    origin = package.origin
    what = (origin.url, origin.commit, origin.subdirectory) if isinstance(origin, GitSource) else (origin.sha256,)
    return key_of(package.name, what, target.name, target.python.full_version)

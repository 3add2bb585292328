"""Core metadata of wheels, remembered in the store under the wheel's SHA-256."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.store.cas import Store

_KIND = "metadata"


@dataclass(frozen=True, kw_only=True)
class CachedMetadata:
    """``checked``: it was read from a wheel whose digest was right; ``size`` of the wheel, where known."""

    data: bytes
    size: int | None = None
    checked: bool = False


def recall(store: Store, sha256: str) -> CachedMetadata | None:
    """Return what is remembered of a wheel; damage counts as nothing."""
    value = store.recall(_KIND, sha256) or {}
    try:
        return CachedMetadata(
            data=value["text"].encode("utf-8", "surrogateescape"),
            size=value["size"],
            checked=value["checked"] is True,
        )
    except (TypeError, KeyError, AttributeError, UnicodeError):
        return None


def remember(store: Store, sha256: str, cached: CachedMetadata) -> None:
    """Remember the metadata of a wheel; unchecked metadata never replaces checked."""
    text = cached.data.decode("utf-8", "surrogateescape")
    store.remember(_KIND, sha256, {"text": text, "size": cached.size, "checked": cached.checked})

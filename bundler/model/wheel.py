"""A wheel that is in the store, checked, with where it came from."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.model.lock import Kind, LockedPackage, Origin


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One wheel file. ``digest`` is its blob; ``kind`` says what it was made from (``wheel``: fetched as it is)."""

    name: str
    version: str
    filename: str
    digest: str
    size: int
    kind: Kind
    origin: Origin

    @property
    def built(self) -> bool:
        """Return whether we compiled it."""
        return self.kind != "wheel"


@dataclass(frozen=True, kw_only=True)
class WheelSet:
    """The wheels of one venv on one target, in the order of its lock."""

    venv: str
    target: str
    wheels: tuple[Wheel, ...]
    packages: tuple[LockedPackage, ...]

"""A stand-in for asking build backends: it knows what sources require, and keeps a record of what it was asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bundler.model.target import Target
from bundler.resolve.port import Resolved, SourceMetadata


@dataclass
class Told:
    """``knows`` is asked for, ``remembers`` is known from before; ``asked`` is one list of names for each call."""

    knows: Sequence[SourceMetadata] = ()
    remembers: Sequence[SourceMetadata] = ()
    asked: list[list[str]] = field(default_factory=list)
    sources: list[Resolved] = field(default_factory=list)

    def remembered(self, names: Iterable[str], targets: Sequence[Target]) -> tuple[SourceMetadata, ...]:
        wanted = set(names)
        return tuple(one for one in self.remembers if one.name in wanted)

    def ask(self, sources: Sequence[Resolved], targets: Sequence[Target]) -> tuple[SourceMetadata, ...]:
        self.asked.append(sorted(f"{one.name} {one.version}".strip() for one in sources))
        self.sources += sources
        return tuple(self._of(one) for one in sources)

    def _of(self, source: Resolved) -> SourceMetadata:
        return next(one for one in self.knows if one.name == source.name and source.version in ("", one.version))


def told(name: str, version: str, *requires: str, **more: Any) -> SourceMetadata:
    return SourceMetadata(name=name, version=version, requires_dist=requires, **more)

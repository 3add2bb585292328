"""What the targets' build environments say of one source, made one answer that is true for all of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from packaging.requirements import Requirement

from bundler.model.target import Target
from bundler.resolve.port import SourceMetadata
from bundler.resolve.units import only_on
from bundler.resolve.walk import CoreMeta

_SHOWN = 4
Told: TypeAlias = Sequence[tuple[Target, CoreMeta]]


def joined(name: str, version: str, told: Told) -> SourceMetadata:
    """Return the metadata of a source that ``told`` has for at least one target.

    What only some targets require is bound to their systems, with a note. A required Python that differs is left out:
    the walk of each target looks at its own.
    """
    askers: dict[str, list[Target]] = {}
    for target, meta in told:
        for requirement in meta.requirements:
            askers.setdefault(str(requirement), []).append(target)
    names = {target.name for target, _ in told}
    partly = {line: targets for line, targets in askers.items() if {one.name for one in targets} != names}
    pythons = {meta.requires_python for _, meta in told}
    return SourceMetadata(
        name=name,
        version=version,
        requires_dist=tuple(only_on(line, askers[line]) if line in partly else line for line in askers),
        requires_python=pythons.pop() if len(pythons) == 1 else "",
        provides_extra=tuple(dict.fromkeys(extra for _, meta in told for extra in meta.provides_extra)),
        note=_note(name, version, partly) if partly else "",
    )


def _note(name: str, version: str, partly: dict[str, list[Target]]) -> str:
    parts = [
        f"{Requirement(line).name} on {', '.join(sorted({one.name for one in targets}))} only"
        for line, targets in sorted(partly.items())
    ]
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return f"{name} {version} does not require the same everywhere: {'; '.join(parts[:_SHOWN])}{more}"

"""What a repo host says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

#: Of the conversation between :mod:`bundler.repohost.wire` and the script at the far end.
PROTOCOL = 1
ReleaseState: TypeAlias = Literal["active", "previous", "staged"]
Kind: TypeAlias = Literal["added", "removed", "changed", "mode", "owner", "link"]


@dataclass(frozen=True, kw_only=True)
class HostRelease:
    """An admitted release: its bundle's id, line (``<name>-<version>``), sequence, digest and the targets it has."""

    id: str
    line: str
    sequence: int
    digest: str
    targets: tuple[str, ...]
    state: ReleaseState
    size: int = 0
    admitted: int = 0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The highest sequence of a line that a host ever admitted, its epoch and its digest."""

    epoch: int
    sequence: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """One look at a host: changes nothing there.

    ``system`` is the target that the host's own system would be; ``foreign`` are names below the root that are in
    the way because we did not make them; ``holder`` says who holds the lock.
    """

    system: str
    free: int
    inodes: int
    releases: tuple[HostRelease, ...] = ()
    seen: Mapping[str, Seen] = field(default_factory=dict)
    trust: int = 0
    foreign: tuple[str, ...] = ()
    holder: str = ""
    writable: bool = True
    separate: bool = False


@dataclass(frozen=True, kw_only=True)
class HostBlobs:
    """Blobs that a host has, and how many bytes of others lie there from a cut transfer, by digest.

    ``inbox``: those of the complete ones that were pushed and are not in its store.
    """

    complete: Mapping[str, int] = field(default_factory=dict)
    partial: Mapping[str, int] = field(default_factory=dict)
    inbox: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One way in which a release on a host is not what was signed. ``path`` is below the root."""

    kind: Kind
    path: str
    detail: str = ""

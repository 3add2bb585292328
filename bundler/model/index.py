"""Where packages come from: indexes, local folders of wheels, and what is needed to reach them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class IndexSpec:
    """A package index (PEP 503). ``url`` holds no credentials; None is the tools' own default index.

    Packages named in ``packages`` (normalised) come from this index only.
    """

    name: str
    url: str | None = None
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """Indexes in order of preference, folders of wheels, and how to reach them.

    ``root`` is where relative ``file:`` addresses begin: the manifest's directory.

    ``env`` holds further environment variables for uv and pip, credentials among them: never shown, never written.
    """

    indexes: tuple[IndexSpec, ...] = ()
    folders: tuple[Path, ...] = ()
    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = field(default=None, repr=False)
    root: Path = Path("/")
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    def bound(self) -> dict[str, IndexSpec]:
        """Return the index of every package that is bound to one."""
        return {package: index for index in self.indexes for package in index.packages}

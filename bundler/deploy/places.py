"""Where a site's configuration and state lie on the deployment host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONFIG = Path("/etc/bundle-install")
STATE = Path("/var/lib/bundle-install")


@dataclass(frozen=True, kw_only=True)
class Places:
    """``config`` is what people and trust updates write; ``state`` is ours: staging, log, receipts."""

    config: Path = CONFIG
    state: Path = STATE

    @property
    def site(self) -> Path:
        """Return the file ``site.yaml``."""
        return self.config / "site.yaml"

    @property
    def trust(self) -> Path:
        """Return the directory of accepted trust documents, ``trust-0001`` and so on."""
        return self.config / "trust"

    @property
    def distrust(self) -> Path:
        """Return the file of what this site no longer trusts."""
        return self.config / "distrust.json"

    @property
    def seen(self) -> Path:
        """Return the file of highest sequences, their digests, floors and the time floor."""
        return self.state / "state.json"

    @property
    def log(self) -> Path:
        """Return the audit log."""
        return self.state / "audit.jsonl"

    @property
    def lock(self) -> Path:
        """Return the file that a run holds while it changes anything."""
        return self.state / "lock"

    @property
    def staging(self) -> Path:
        """Return the private directory of copies from media, one directory per bundle digest."""
        return self.state / "staging"

    @property
    def releases(self) -> Path:
        """Return the directory of what is kept of every applied bundle, by its id: all files but the volumes."""
        return self.state / "releases"

    @property
    def receipts(self) -> Path:
        """Return the directory of receipts."""
        return self.state / "receipts"

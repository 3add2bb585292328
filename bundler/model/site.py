"""What ``site.yaml`` says: the hosts of a site and how to reach them.

Plain frozen dataclasses: the air-gapped half parses them without compiled extras (:mod:`bundler.model.site_load`).
Sizes are bytes, times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

TransportName: TypeAlias = Literal["ssh", "openssh", "local"]


@dataclass(frozen=True, kw_only=True)
class Ssh:
    """How to log in. Host keys come from ``known_hosts`` alone and are never learned."""

    user: str = "root"
    identity: str = ""
    agent: bool = True
    known_hosts: str = "/etc/bundle-install/known_hosts"
    jump: str = ""
    connect_timeout: int = 15
    keepalive: int = 15


@dataclass(frozen=True, kw_only=True)
class Admit:
    """A second login on a repo host that checks and activates but takes no content, where the site wants that.

    ``command`` is what its key is restricted to run (sshd's ForceCommand): then no script is sent.
    """

    user: str
    identity: str = ""
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class RepoHost:
    """A host that serves releases. ``targets`` empty: all of the site's; ``url``: where clients read it, if known.

    Hosts with the same ``shared_root`` see one file system: one of them writes.
    """

    name: str
    address: str = ""
    port: int = 22
    user: str = ""
    transport: TransportName = "ssh"
    root: str = "/var/www/repo"
    owner: str = "root"
    group: str = "root"
    targets: tuple[str, ...] = ()
    shared_root: str = ""
    url: str = ""
    admit: Admit | None = None


@dataclass(frozen=True, kw_only=True)
class ServiceHost:
    """A host that runs venvs."""

    name: str
    address: str = ""
    port: int = 22
    user: str = ""
    transport: TransportName = "ssh"
    target: str = ""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How many releases of one name and version a repo host keeps beside the active one, and which for ever."""

    keep: int = 2
    pinned: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gates:
    """How many repo hosts may fail before nothing is activated anywhere."""

    max_failed: int = 0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Most hosts at a time; most bytes a second to all together (0: no limit); tries per host; age of a bundle."""

    connections: int = 20
    bandwidth: int = 0
    retries: int = 5
    max_age_days: int = 0


@dataclass(frozen=True, kw_only=True)
class Site:
    """All of ``site.yaml``. ``targets`` empty: whatever the repo hosts name."""

    name: str
    targets: tuple[str, ...] = ()
    repo_hosts: tuple[RepoHost, ...] = ()
    service_hosts: tuple[ServiceHost, ...] = ()
    ssh: Ssh = field(default_factory=Ssh)
    retention: Retention = field(default_factory=Retention)
    gates: Gates = field(default_factory=Gates)
    limits: Limits = field(default_factory=Limits)

    @property
    def all_targets(self) -> tuple[str, ...]:
        """Return the targets of the site: its own list, else all that its hosts name; empty means any."""
        if self.targets:
            return self.targets
        return tuple(sorted({target for host in self.repo_hosts for target in host.targets}))

    def targets_of(self, host: RepoHost) -> tuple[str, ...]:
        """Return the targets that ``host`` holds; empty means any."""
        return host.targets or self.targets

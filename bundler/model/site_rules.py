"""Rules of ``site.yaml`` that span several fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bundler.model.manifest_tree import FieldPath, Located, child
from bundler.model.nearest import nearest
from bundler.model.site import RepoHost, ServiceHost, Site
from bundler.model.site_kinds import Wrong, parse_jump

_SAME_ROOT = ("root", "owner", "group", "targets")
#: Fields that mean nothing to a host that is this one.
_REMOTE = ("address", "port", "user", "admit")


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """A rule that is broken, at a field."""

    path: FieldPath
    what: str
    hint: str = ""


def check_rules(site: Site, tree: Located) -> Iterator[Complaint]:
    """Yield what is wrong with a site whose single fields are right; ``tree`` tells what was written down."""
    hosts: list[tuple[FieldPath, RepoHost | ServiceHost]] = [
        *((("repo_hosts", number), host) for number, host in enumerate(site.repo_hosts)),
        *((("service_hosts", number), host) for number, host in enumerate(site.service_hosts)),
    ]
    if not site.repo_hosts and not site.service_hosts:
        yield Complaint(path=(), what="names no host", hint="repo_hosts: lists the hosts that serve releases")
    yield from _names(hosts)
    yield from _repeated(("targets",), site.targets)
    yield from _repeated(("retention", "pinned"), site.retention.pinned)
    for path, host in hosts:
        yield from _targets(site, path, host)
        if host.transport == "local":
            yield from _local(path, tree)
        if isinstance(host, RepoHost):
            yield from _admit(site, path, host)
    yield from _places(site.repo_hosts)
    yield from _shared(site.repo_hosts)
    yield from _gate(site)
    yield from _jump(site, hosts)


def _names(hosts: Sequence[tuple[FieldPath, RepoHost | ServiceHost]]) -> Iterator[Complaint]:
    """A name is one host, whatever its case: DNS and file names may not tell them apart."""
    first: dict[tuple[str | int, str], FieldPath] = {}
    for path, host in hosts:
        key = (path[0], host.name.casefold())
        if host.name and key in first:
            what = f"{host.name!r} is also the name of {path[0]}[{first[key][1]}]"
            yield Complaint(path=(*path, "name"), what=what, hint="a host is listed once")
        first.setdefault(key, path)


def _repeated(path: FieldPath, values: Sequence[str]) -> Iterator[Complaint]:
    for number, value in enumerate(values):
        if value and value in values[:number]:
            yield Complaint(path=(*path, number), what=f"{value!r} is listed twice", hint="remove one")


def _targets(site: Site, path: FieldPath, host: RepoHost | ServiceHost) -> Iterator[Complaint]:
    """A host can only hold what its site has."""
    if isinstance(host, RepoHost):
        yield from _repeated((*path, "targets"), host.targets)
        named = [((*path, "targets", number), target) for number, target in enumerate(host.targets)]
    else:
        named = [((*path, "target"), host.target)]
    for place, target in named:
        if target and site.targets and target not in site.targets:
            hint = nearest(target, site.targets)
            yield Complaint(path=place, what=f"{target!r} is none of the site's targets", hint=hint)


def _local(path: FieldPath, tree: Located) -> Iterator[Complaint]:
    here: Located | None = tree
    for part in path:
        here = child(here, part) if here is not None else None
    for name in _REMOTE:
        if here is not None and child(here, name) is not None:
            what = "has no meaning with transport: local, which is this very host"
            yield Complaint(path=(*path, name), what=what, hint="remove it, or write transport: ssh")


def _admit(site: Site, path: FieldPath, host: RepoHost) -> Iterator[Complaint]:
    if host.admit is None:
        return
    user = host.user or site.ssh.user
    if host.admit.user == user:
        what = f"{user!r} pushes too: a second login of the same user separates nothing"
        yield Complaint(path=(*path, "admit", "user"), what=what, hint="use another user, or remove admit:")
    identity = host.admit.identity
    if identity and identity == site.ssh.identity:
        what = "is the key that pushes: whoever has it can do both"
        yield Complaint(path=(*path, "admit", "identity"), what=what, hint="use another key")


def _places(hosts: Sequence[RepoHost]) -> Iterator[Complaint]:
    """One directory of one host is one repo host; seen under two addresses it is a shared root."""
    first: dict[tuple[str, int, str], int] = {}
    for number, host in enumerate(hosts):
        address = "" if host.transport == "local" else (host.address or host.name).casefold()
        key = (address, host.port, host.root)
        if key in first and host.name.casefold() != hosts[first[key]].name.casefold():
            what = f"is the same place as repo_hosts[{first[key]}] ({hosts[first[key]].name})"
            yield Complaint(path=("repo_hosts", number, "root"), what=what, hint="remove one of the two")
        first.setdefault(key, number)


def _shared(hosts: Sequence[RepoHost]) -> Iterator[Complaint]:
    """One file system has one layout: hosts that share it must describe it alike."""
    first: dict[str, int] = {}
    for number, host in enumerate(hosts):
        if not host.shared_root:
            continue
        other = hosts[first.setdefault(host.shared_root, number)]
        for name in _SAME_ROOT:
            if getattr(host, name) != getattr(other, name):
                what = f"differs from that of {other.name}, which shares {host.shared_root!r}"
                hint = f"the same {name} for all hosts of a shared_root, or another shared_root"
                yield Complaint(path=("repo_hosts", number, name), what=what, hint=hint)


def _gate(site: Site) -> Iterator[Complaint]:
    if site.repo_hosts and site.gates.max_failed >= len(site.repo_hosts):
        what = f"{site.gates.max_failed} may fail of {len(site.repo_hosts)} repo hosts: the gate never closes"
        yield Complaint(path=("gates", "max_failed"), what=what, hint="fewer than there are repo hosts")


def _jump(site: Site, hosts: Sequence[tuple[FieldPath, RepoHost | ServiceHost]]) -> Iterator[Complaint]:
    if hosts and site.ssh.jump and all(host.transport == "local" for _, host in hosts):
        yield Complaint(path=("ssh", "jump"), what="no host is reached through it", hint="remove it")


def jump_host(site: Site) -> tuple[str, int] | None:
    """Return address and port of the jump host, if there is one."""
    try:
        jump = parse_jump(site.ssh.jump)
    except Wrong:
        return None
    return jump.host, jump.port

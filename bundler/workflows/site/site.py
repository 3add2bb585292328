"""Is ``site.yaml`` right, and are the files that it names there, with a pinned key for every host?"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from bundler.deploy.site_file import read_site_file
from bundler.errors import Problem, SiteError
from bundler.model.site import RepoHost, ServiceHost, Site
from bundler.model.site_known_hosts import MAX_SIZE, SSH_PORT, KnownHost, parse_known_hosts, pinned
from bundler.model.site_rules import jump_host

_SCAN = "ssh-keyscan {port}{address} on a trusted path, compare it with the host's console, then add the line"


def check_site(path: Path) -> Site:
    """Return the site at ``path`` if nothing is wrong with it and its files.

    Raises:
        SiteError: Something is; ``problems`` lists all of it.
    """
    site = read_site_file(path)
    problems = [*_identities(site), *_keys(site)]
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise SiteError(f"{path}: {count}", problems=problems)
    return site


def _remote(site: Site) -> Iterator[tuple[str, RepoHost | ServiceHost]]:
    for number, repo in enumerate(site.repo_hosts):
        if repo.transport != "local":
            yield f"repo_hosts[{number}]", repo
    for number, service in enumerate(site.service_hosts):
        if service.transport != "local":
            yield f"service_hosts[{number}]", service


def _identities(site: Site) -> Iterator[Problem]:
    if not any(_remote(site)):
        return
    named = [("ssh.identity", site.ssh.identity)]
    named += [
        (f"{where}.admit.identity", host.admit.identity)
        for where, host in _remote(site)
        if isinstance(host, RepoHost) and host.admit is not None
    ]
    for where, identity in named:
        if identity:
            yield from _identity(where, Path(identity))
    if not site.ssh.identity and not site.ssh.agent:
        yield Problem(where="ssh", what="neither identity nor agent: nothing to log in with", hint="name an identity")


def _identity(where: str, path: Path) -> Iterator[Problem]:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        yield Problem(where=where, what=f"{path}: {error.strerror}", hint="ssh-keygen -t ed25519 makes one")
        return
    if not stat.S_ISREG(mode):
        yield Problem(where=where, what=f"{path} is no regular file")
    elif mode & (stat.S_IRWXG | stat.S_IRWXO) and path.suffix != ".pub":
        what = f"{path} can be read by others (mode {stat.S_IMODE(mode):04o})"
        yield Problem(where=where, what=what, hint=f"chmod 600 {path}")


def _keys(site: Site) -> Iterator[Problem]:
    """Find hosts without a pinned key: they would be refused, so say it before somebody stands there waiting."""
    wanted: dict[tuple[str, int], str] = {}
    for where, host in _remote(site):
        wanted.setdefault((host.address or host.name, host.port), f"{where} ({host.name})")
    jump = jump_host(site)
    if jump is not None and wanted:
        wanted.setdefault(jump, "ssh.jump")
    if not wanted:
        return
    path = Path(site.ssh.known_hosts)
    entries, problems = _known_hosts(path)
    yield from problems
    if entries is None:
        return
    for (address, port), where in wanted.items():
        if not pinned(entries, address, port):
            name = address if port == SSH_PORT else f"[{address}]:{port}"
            hint = _SCAN.format(address=address, port="" if port == SSH_PORT else f"-p {port} ")
            yield Problem(where=where, what=f"{path} has no key of {name}", hint=hint)


def _known_hosts(path: Path) -> tuple[tuple[KnownHost, ...] | None, tuple[Problem, ...]]:
    hint = "ssh-keyscan HOSTS, compared with each host's console"
    if path.exists() and not path.is_file():
        return None, (Problem(where="ssh.known_hosts", what=f"{path} is no regular file", hint=hint),)
    try:
        with path.open("rb") as file:
            return parse_known_hosts(file.read(MAX_SIZE + 1), str(path))
    except OSError as error:
        return None, (Problem(where="ssh.known_hosts", what=f"{path}: {error.strerror}", hint=hint),)

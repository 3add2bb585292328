"""Venvs of an applied release onto service hosts, all at once: each host unpacks what it is sent, or fetches it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from bundler.bundle.reader import Bundle, open_bundle
from bundler.clock import stopwatch
from bundler.deploy.audit import AuditLog
from bundler.deploy.kept import kept_releases, open_kept
from bundler.deploy.places import Places
from bundler.deploy.site_file import read_site
from bundler.deploy.venv_archive import SUFFIX
from bundler.deploy.venv_hosts import HOME, Sent, ask, ensure, remove
from bundler.errors import BundlerError, DeployError, Problem, UsageError
from bundler.events import Emit, ItemFinished, ItemStarted, StageAdvanced, StageFinished, StageStarted, ignore
from bundler.files import chunks, sha256_of
from bundler.model.contents import VenvEntry
from bundler.model.site import ServiceHost, Site
from bundler.transport.drivers import connect
from bundler.transport.limiter import Limiter
from bundler.transport.port import Endpoint, Transport

STAGE = "venvs"
_INSTALLER = "bundle-install"


@dataclass(frozen=True, kw_only=True)
class VenvRequest:
    """Which venvs go to which hosts: names from site.yaml, or ``user@host``; ``release``: an id, the newest without.

    ``fetch``: the URL of a repo host's root, from which the hosts fetch; without it archives are sent.
    """

    places: Places
    hosts: tuple[str, ...]
    venvs: tuple[str, ...]
    release: str = ""
    target: str = ""
    fetch: str = ""
    into: str = ""
    keep: int = 2
    copy: bool = False
    rollback: bool = False
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostResult:
    """What one host says of its venvs, or why it could not be done."""

    host: str
    venvs: tuple[Any, ...] = ()
    error: BundlerError | None = None


@dataclass(frozen=True, kw_only=True)
class Installed:
    """One result per host."""

    release: str
    results: tuple[HostResult, ...] = field(default=())

    def require_success(self) -> None:
        """Say which hosts failed.

        Raises:
            BundlerError: One host's own error, or all of them as problems.
        """
        failed = [one for one in self.results if one.error is not None]
        if len(failed) == 1 and failed[0].error is not None:
            raise failed[0].error
        if failed:
            problems = [Problem(where=one.host, what=str(one.error)) for one in failed]
            raise DeployError(f"{len(failed)} of {len(self.results)} hosts failed", problems=problems)


def install_venvs(request: VenvRequest, emit: Emit = ignore) -> Installed:
    """Bring venvs onto service hosts, or switch them back; one host's failure does not hold up another.

    Raises:
        SiteError: site.yaml is wrong or missing.
        UsageError: There is no such host, release or venv.
    """
    site = read_site(request.places)
    release = _release(request)
    hosts = [_host(site, name) for name in request.hosts]
    with ExitStack() as stack:
        kept = stack.enter_context(open_kept(request.places, release))
        jobs = [(host, _venvs(kept, request, host)) for host in hosts]
        bundle = None
        if not request.fetch and not request.rollback:
            bundle = stack.enter_context(open_bundle(_staged(request.places, kept)))
        work = _Work(request, site, kept, bundle, emit)
        emit(StageStarted(stage=STAGE, total=len(hosts)))
        with ThreadPoolExecutor(max(1, min(len(hosts), site.limits.connections))) as pool:
            results = tuple(pool.map(lambda job: work.one(*job), jobs))
        emit(StageFinished(stage=STAGE, seconds=work.seconds, items=len(hosts)))
    return Installed(release=release, results=results)


def _release(request: VenvRequest) -> str:
    if request.release:
        return request.release
    kept = kept_releases(request.places)
    if not kept:
        raise UsageError("this site has not applied a release yet", hint="bundle-install apply first")
    return max(kept, key=lambda name: int(name.rpartition("-")[2]))


def _host(site: Site, name: str) -> ServiceHost:
    known = {host.name: host for host in site.service_hosts}
    if name in known:
        return known[name]
    user, at, address = name.rpartition("@")
    if not at:
        raise UsageError(
            f"no service host is called {name}",
            hint=f"there are: {', '.join(known) or 'none in site.yaml'}; or give user@host",
        )
    return ServiceHost(name=name, address=address, user=user)


def _venvs(kept: Bundle, request: VenvRequest, host: ServiceHost) -> list[VenvEntry]:
    """Return the venvs for a host, of its target."""
    targets = [target.name for target in kept.contents.targets]
    target = request.target or host.target or (targets[0] if len(targets) == 1 else "")
    if target not in targets:
        raise UsageError(
            f"{host.name}: which target has it?" if not target else f"the release is not for {target}",
            hint=f"say it in site.yaml or with --target; one of: {', '.join(targets)}",
        )
    known = {venv.name: venv for venv in kept.contents.venvs if venv.target == target}
    unknown = [name for name in request.venvs if name not in known]
    if unknown:
        raise UsageError(f"{target} has no venv {', '.join(unknown)}", hint=f"there are: {', '.join(known)}")
    return [known[name] for name in request.venvs]


def _staged(places: Places, kept: Bundle) -> Path:
    staged = places.staging / kept.digest
    if not staged.is_dir():
        raise UsageError(
            f"this host has no copy of {kept.contents.id} any more",
            hint="let the hosts fetch it from a repo host: --fetch URL",
        )
    return staged


class _Work:
    """What all hosts need."""

    def __init__(self, request: VenvRequest, site: Site, kept: Bundle, bundle: Bundle | None, emit: Emit) -> None:
        self._request, self._site, self._kept, self._bundle, self._emit = request, site, kept, bundle, emit
        self._limiter = Limiter(site.limits.bandwidth)
        self._log = AuditLog(request.places.log)
        self._began = stopwatch()
        self._installer = request.places.releases / kept.contents.id / _INSTALLER
        self._digest = sha256_of(self._installer)

    @property
    def seconds(self) -> float:
        """Return how long it has been going on."""
        return stopwatch() - self._began

    def one(self, host: ServiceHost, venvs: Sequence[VenvEntry]) -> HostResult:
        """Do everything on one host."""
        self._emit(ItemStarted(stage=STAGE, item=host.name))
        try:
            found = self._on(host, venvs)
            result = HostResult(host=host.name, venvs=found)
        except BundlerError as error:
            result = HostResult(host=host.name, error=error)
        self._emit(ItemFinished(stage=STAGE, item=host.name, note="failed" if result.error else ""))
        self._emit(StageAdvanced(stage=STAGE))
        return result

    def _on(self, host: ServiceHost, venvs: Sequence[VenvEntry]) -> tuple[Any, ...]:
        endpoint = Endpoint(
            name=host.name,
            address=host.address or host.name,
            port=host.port,
            user=host.user or self._site.ssh.user,
            identity=self._site.ssh.identity,
        )
        transport = connect(endpoint, host.transport, self._site.ssh, self._limiter)
        try:
            program = HOME / self._digest / _INSTALLER
            ensure(transport, self._file(program))
            found = [one for venv in venvs for one in self._venv(transport, program, venv)]
        finally:
            transport.close()
        for one in found:
            facts = {"host": host.name, "venv": one["venv"], "bundle": self._kept.contents.id, "path": one["path"]}
            self._log.append("venv installed", facts)
        return tuple(found)

    def _file(self, program: PurePosixPath) -> Sent:
        return Sent(
            path=program,
            size=self._installer.stat().st_size,
            sha256=self._digest,
            mode="755",
            pieces=self._installer_bytes(),
        )

    def _installer_bytes(self) -> Iterator[bytes]:
        with self._installer.open("rb") as file:
            yield from chunks(file)

    def _venv(self, transport: Transport, program: PurePosixPath, venv: VenvEntry) -> list[Any]:
        request = self._request
        into = request.into or posixpath.dirname(venv.install_path)
        argv = [str(program), "unpack", "--into", into]
        argv += [word for fact in request.facts for word in ("--fact", fact)]
        if request.rollback:
            return self._told(transport, [*argv, "--rollback", venv.name])
        entry = self._kept.file(venv.archive)
        name = posixpath.basename(venv.archive).removesuffix(SUFFIX)
        argv += ["--keep", str(request.keep), "--link", venv.name, "--sha256", entry.sha256]
        argv += ["--copy"] if request.copy else []
        if request.fetch:
            source = f"{request.fetch.rstrip('/')}/{posixpath.dirname(venv.archive)}"
            return self._told(transport, [*argv, "--from", source, name])
        place = HOME / "incoming" / entry.sha256 / f"{name}{SUFFIX}"
        pieces = self._bundle.stream_file(venv.archive) if self._bundle else ()
        ensure(transport, Sent(path=place, size=entry.size, sha256=entry.sha256, mode="644", pieces=pieces))
        found = self._told(transport, [*argv, "--from", str(place.parent), name])
        remove(transport, place)
        return found

    def _told(self, transport: Transport, argv: Sequence[str]) -> list[Any]:
        return list(ask(transport, argv)["venvs"])

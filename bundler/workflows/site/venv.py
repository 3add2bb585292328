"""Venvs of an applied release onto service hosts, all at once: each host unpacks what it is sent, or fetches it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundler.bundle.reader import Bundle, open_bundle
from bundler.clock import stopwatch
from bundler.deploy.audit import AuditLog
from bundler.deploy.facts import parse_fact
from bundler.deploy.outcome import reason
from bundler.deploy.places import Places
from bundler.deploy.push import skip
from bundler.deploy.site_file import read_site
from bundler.deploy.venv_archive import SUFFIX
from bundler.deploy.venv_forecast import differs, look
from bundler.deploy.venv_hosts import HOME, Sent, ask, ensure, keep_alone, remove
from bundler.deploy.venv_release import open_release, refused_archives, require_allowed
from bundler.deploy.venv_session import ServiceSession
from bundler.deploy.venv_switch import GoBack, where_back
from bundler.errors import BundlerError, DeployError, Problem, UsageError
from bundler.events import (
    Emit,
    ItemFinished,
    ItemStarted,
    StageAdvanced,
    StageFinished,
    StageStarted,
    Warned,
    ignore,
)
from bundler.files import chunks, sha256_of
from bundler.model.contents import VenvEntry
from bundler.model.site import ServiceHost, Site
from bundler.transport.limiter import Limiter

STAGE = "venvs"
_INSTALLER = "bundle-install"


@dataclass(frozen=True, kw_only=True)
class VenvRequest:
    """Which venvs go to which hosts: names from site.yaml, or ``user@host``.

    ``release``: an id, or a line of which the active release is meant; without it there is only one line. ``fetch``:
    the URL of a repo host's root, from which the hosts fetch; without it archives are sent. ``rollback``: to the venv
    that was in use before, or ``to`` that one. ``dry_run``: hosts are only asked what they have.
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
    to: str = ""
    facts: tuple[str, ...] = ()
    dry_run: bool = False


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
        UsageError: There is no such host, release or venv, or it is not clear which release is meant.
        TrustError: This site would not take the release today: it was revoked, or those who signed it were.
    """
    if request.to and (len(request.venvs) > 1 or not request.rollback):
        raise UsageError("--to says to which venv one name goes back", hint="use it with --rollback and one --venv")
    site = read_site(request.places)
    hosts = [_host(site, name) for name in request.hosts]
    with ExitStack() as stack:
        repo_hosts = frozenset(host.name for host in site.repo_hosts)
        kept = stack.enter_context(open_release(request.places, repo_hosts, request.release))
        if not request.rollback:
            require_allowed(request.places, kept)
        jobs = [(host, _venvs(kept, request, host)) for host in hosts]
        bundle = None
        if not (request.rollback or request.fetch or request.dry_run):
            bundle = stack.enter_context(open_bundle(_staged(request.places, kept)))
        work = _Work(request, site, kept, bundle, emit)
        emit(StageStarted(stage=STAGE, total=len(hosts)))
        with ThreadPoolExecutor(max(1, min(len(hosts), site.limits.connections))) as pool:
            results = tuple(pool.map(lambda job: work.one(*job), jobs))
        emit(StageFinished(stage=STAGE, seconds=work.seconds, items=len(hosts)))
    return Installed(release=kept.contents.id, results=results)


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
        self._refused = refused_archives(request.places) if request.rollback else frozenset()

    @property
    def seconds(self) -> float:
        """Return how long it has been going on."""
        return stopwatch() - self._began

    def one(self, host: ServiceHost, venvs: Sequence[VenvEntry]) -> HostResult:
        """Do everything on one host."""
        self._emit(ItemStarted(stage=STAGE, item=host.name))

        def on_retry(error: BundlerError) -> None:
            self._emit(Warned(message=f"{host.name}: {reason(host.name, error)}", hint="trying again"))

        session = ServiceSession(host, self._site, self._limiter)
        try:
            found = session.persist(lambda session: self._on(session, venvs), on_retry)
            result = HostResult(host=host.name, venvs=found)
        except BundlerError as error:
            result = HostResult(host=host.name, error=error)
        self._write_down(result)
        self._emit(ItemFinished(stage=STAGE, item=host.name, note="failed" if result.error else ""))
        self._emit(StageAdvanced(stage=STAGE))
        return result

    def _write_down(self, result: HostResult) -> None:
        for one in () if self._request.dry_run else result.venvs:
            facts = {"host": result.host, "venv": one["venv"], "path": one["path"]}
            if self._request.rollback:
                self._log.append("venv rolled back", facts)
            else:
                self._log.append("venv installed", {**facts, "bundle": self._kept.contents.id})

    def _on(self, session: ServiceSession, venvs: Sequence[VenvEntry]) -> tuple[Any, ...]:
        if self._request.dry_run:
            return tuple(self._would(session, venv) for venv in venvs)
        program = Sent(
            path=HOME / self._digest / _INSTALLER,
            size=self._installer.stat().st_size,
            sha256=self._digest,
            mode="755",
            pieces=lambda offset: skip(self._installer_bytes(), offset),
        )
        ensure(session.transport, program, session.progress)
        put = self._back if self._request.rollback else self._put
        return tuple(one for venv in venvs for one in put(session, [str(program.path), "unpack"], venv))

    def _would(self, session: ServiceSession, venv: VenvEntry) -> dict[str, Any]:
        """Return what ``_put`` or ``_back`` would; the host is only read."""
        request, into = self._request, self._into(venv)
        there = look(session.transport, into, venv.name)
        if request.rollback:
            name = where_back(there.active, there.venvs, GoBack(link=venv.name, to=request.to, refused=self._refused))
            changed = name != there.active
        else:
            name = posixpath.basename(venv.archive).removesuffix(SUFFIX)
            changed = not there.has(name, self._kept.file(venv.archive).sha256, copied=request.copy)
        facts = [fact for fact in map(parse_fact, request.facts) if differs(session.transport, fact)]
        return {
            "venv": venv.name,
            "path": posixpath.join(into, name),
            "link": posixpath.join(into, venv.name),
            "changed": changed,
            "facts": list(dict.fromkeys(str(fact.file) for fact in facts)),
        }

    def _installer_bytes(self) -> Iterator[bytes]:
        with self._installer.open("rb") as file:
            yield from chunks(file)

    def _options(self, venv: VenvEntry) -> list[str]:
        return ["--into", self._into(venv), *(word for fact in self._request.facts for word in ("--fact", fact))]

    def _into(self, venv: VenvEntry) -> str:
        return self._request.into or posixpath.dirname(venv.install_path)

    def _back(self, session: ServiceSession, program: Sequence[str], venv: VenvEntry) -> list[Any]:
        to = ["--to", self._request.to] if self._request.to else []
        refused = [word for digest in sorted(self._refused) for word in ("--refuse", digest)]
        return _told(session, [*program, "--rollback", venv.name, *to, *refused, *self._options(venv)])

    def _put(self, session: ServiceSession, program: Sequence[str], venv: VenvEntry) -> list[Any]:
        request, entry = self._request, self._kept.file(venv.archive)
        name = posixpath.basename(venv.archive).removesuffix(SUFFIX)
        argv = [*program, name, *self._options(venv), "--sha256", entry.sha256]
        argv += ["--keep", str(request.keep), "--link", venv.name, *(["--copy"] if request.copy else [])]
        if request.fetch:
            source = f"{request.fetch.rstrip('/')}/{posixpath.dirname(venv.archive)}"
            return _told(session, [*argv, "--from", source])
        place = HOME / "incoming" / venv.name / entry.sha256
        archive = Sent(
            path=place / f"{name}{SUFFIX}",
            size=entry.size,
            sha256=entry.sha256,
            mode="644",
            pieces=lambda offset: skip(self._bundle.stream_file(venv.archive) if self._bundle else (), offset),
        )
        keep_alone(session.transport, place)
        ensure(session.transport, archive, session.progress)
        found = _told(session, [*argv, "--from", str(place)])
        remove(session.transport, place)
        return found


def _told(session: ServiceSession, argv: Sequence[str]) -> list[Any]:
    return list(ask(session.transport, argv)["venvs"])

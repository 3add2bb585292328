"""All repo hosts of a site at once: every host gets on by itself, none holds up the others."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar, final

from bundler.clock import stopwatch
from bundler.deploy.outcome import problem_of, reason
from bundler.deploy.places import Places
from bundler.deploy.plan import is_away
from bundler.deploy.session import Session
from bundler.deploy.site_file import read_site
from bundler.deploy.trust_store import TrustStore
from bundler.errors import BundlerError, DeployError, HostUnreachable, UsageError
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
from bundler.model.site import RepoHost, Site
from bundler.transport.limiter import Limiter

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Answer(Generic[T]):
    """What became of one host: a value, or the error that ended the work on it."""

    host: RepoHost
    value: T | None = None
    error: BundlerError | None = None

    def get(self) -> T:
        """Return the value.

        Raises:
            BundlerError: There is none.
        """
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


@final
class Fleet:
    """The repo hosts of a site, or some of them. A context manager: leaving it ends all connections.

    ``distrusted``: what each of them is told to trust less (:meth:`TrustStore.distrusted`).
    """

    def __init__(
        self, site: Site, hosts: Sequence[RepoHost], emit: Emit = ignore, distrusted: Sequence[str] = ()
    ) -> None:
        self._emit = emit
        self._distrusted = tuple(distrusted)
        self._stop = threading.Event()
        self._site = site
        self._limiter = Limiter(site.limits.bandwidth)
        self.sessions = tuple(map(self._session, hosts))

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for session in self.sessions:
            session.close()

    def some(self, names: Iterable[str]) -> tuple[Session, ...]:
        """Return the sessions of the hosts called so, in the order of the site."""
        wanted = set(names)
        return tuple(session for session in self.sessions if session.host.name in wanted)

    def writers(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the hosts called so that write: of each shared root the first."""
        found: dict[str, str] = {}
        for session in self.some(names):
            host = session.host
            found.setdefault(f"root {host.shared_root}" if host.shared_root else f"host {host.name}", host.name)
        return tuple(found.values())

    def spare(self, name: str) -> Session:
        """Return another session with the host called ``name``, for a thread of its own; the caller closes it."""
        host = next(session.host for session in self.sessions if session.host.name == name)
        return self._session(host)

    def _session(self, host: RepoHost) -> Session:
        return Session(host, self._site, self._limiter, self._stop, self._distrusted)

    def each(
        self, action: Callable[[Session], T], sessions: Sequence[Session], *, stage: str
    ) -> tuple[Answer[T], ...]:
        """Run ``action`` for every session at the same time; return what became of each, in their order.

        Work on a host that was cut off is tried again, as often as the site allows. Hosts are items of ``stage``.
        """
        if not sessions:
            return ()
        workers = min(len(sessions), self._site.limits.connections)
        with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="host") as pool:
            tasks = [pool.submit(self._one, action, session, stage) for session in sessions]
            try:
                return tuple(task.result() for task in tasks)
            except BaseException:
                self._abandon(pool)
                raise

    def stage(
        self, stage: str, action: Callable[[Session], T], names: Iterable[str] | None = None
    ) -> tuple[Answer[T], ...]:
        """Run ``action`` on the hosts called so, all without names, as a stage that counts hosts."""
        sessions = self.sessions if names is None else self.some(names)
        if not sessions:
            return ()
        started = stopwatch()
        self._emit(StageStarted(stage=stage, total=len(sessions)))

        def counted(session: Session) -> T:
            value = action(session)
            self._emit(StageAdvanced(stage=stage))
            return value

        answers = self.each(counted, sessions, stage=stage)
        self._emit(StageFinished(stage=stage, seconds=stopwatch() - started, items=len(sessions)))
        return answers

    def _one(self, action: Callable[[Session], T], session: Session, stage: str) -> Answer[T]:
        name = session.host.name
        self._emit(ItemStarted(stage=stage, item=name))

        def on_retry(error: BundlerError) -> None:
            self._emit(Warned(message=f"{name}: {reason(name, error)}", hint="trying again"))

        try:
            answer = Answer(host=session.host, value=session.persist(action, on_retry))
        except BundlerError as error:
            answer = Answer(host=session.host, error=error)
        if len(self.sessions) > self._site.limits.connections:
            # Others wait for a connection.
            session.close()
        self._emit(ItemFinished(stage=stage, item=name, note=reason(name, answer.error)))
        return answer

    def _abandon(self, pool: ThreadPoolExecutor) -> None:
        """Let nothing go on: not what waits, nor what runs."""
        self._stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for session in self.sessions:
            session.close()


@contextlib.contextmanager
def open_fleet(places: Places, names: Sequence[str], emit: Emit = ignore) -> Iterator[tuple[Site, Fleet]]:
    """Yield the site and its repo hosts called so, all of them without any name.

    Raises:
        SiteError: ``site.yaml`` is wrong.
        UsageError: There is no such host.
    """
    site = read_site(places)
    with Fleet(site, choose_hosts(site, names), emit, TrustStore(places).distrusted()) as fleet:
        yield site, fleet


def require_all(answers: Iterable[Answer[T]], what: str) -> None:
    """Say on which hosts something failed, and why.

    Raises:
        BundlerError: The host's own error if it is one host; HostUnreachable if all of them just do not answer.
    """
    failed = {answer.host.name: answer.error for answer in answers if answer.error is not None}
    if not failed:
        return
    if len(failed) == 1:
        raise next(iter(failed.values()))
    away = all(is_away(error) for error in failed.values())
    raise (HostUnreachable if away else DeployError)(
        f"{what} failed on {len(failed)} hosts",
        problems=[problem_of(name, error) for name, error in failed.items()],
    )


def choose_hosts(site: Site, names: Sequence[str]) -> tuple[RepoHost, ...]:
    """Return the repo hosts called so; all of the site without any name.

    Raises:
        UsageError: There is no such host, or the site has none at all.
    """
    known = {host.name: host for host in site.repo_hosts}
    if not known:
        raise UsageError("the site has no repo hosts", hint="list them under repo_hosts in site.yaml")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"no repo host is called {', '.join(unknown)}", hint=f"there are: {', '.join(known)}")
    return tuple(host for name, host in known.items() if not names or name in names)

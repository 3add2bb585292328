"""Git sources: mirrors in the store with full history and all tags, checkouts of one commit that never differ.

<store>/git/<digest of the URL>.git     bare mirror; refs/bundle/<commit> keeps what a lock once named
<store>/git/<digest of the URL>.lock    held while somebody fetches into it
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bundler.clock import stopwatch
from bundler.errors import CommandFailed, GitError
from bundler.events import Emit, ItemFinished, ItemStarted, StageAdvanced, StageFinished, StageStarted, Warned, ignore
from bundler.model.lock import GitSource
from bundler.sources.credentials import Credentials, redact_url
from bundler.sources.fetch import combine, run_all
from bundler.sources.git_command import Git, check_url
from bundler.sources.git_tree import place_tree, settle, submodules
from bundler.sources.retry import Retry
from bundler.store.cas import Store, key_of

STAGE = "git"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT = re.compile(r"[0-9a-f]{7,39}")
_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


class GitSources:
    """Resolve, mirror and check out git repositories."""

    def __init__(
        self, store: Store, emit: Emit = ignore, *, credentials: Credentials | None = None, retry: Retry | None = None
    ) -> None:
        self._store = store
        self._emit = emit
        self._stop = threading.Event()
        self._git = Git(credentials or Credentials(), retry or Retry(attempts=5, base=1.0), self._stop)

    def resolve(self, url: str, revision: str) -> str:
        """Return the full SHA of ``revision``: branch, tag, ref, (short) SHA, or nothing for the default branch.

        Raises:
            GitError: There is no such revision, or the repository cannot be reached.
        """
        check_url(url)
        if _COMMIT.fullmatch(revision):
            self._need(url, revision)
            return revision
        if revision.startswith("-") or any(character.isspace() for character in revision):
            raise GitError(f"{redact_url(url)}: {revision!r} is no revision", hint="name a branch, a tag or a SHA")
        commit = self._look_up(url, revision or "HEAD")
        if commit is None and _SHORT.fullmatch(revision):
            commit = self._expand(url, revision)
        if commit is None:
            raise GitError(
                f"{redact_url(url)} has no revision {revision or 'HEAD'}", hint="check its branches and tags"
            )
        return commit

    def fetch_all(self, sources: Iterable[GitSource], workers: int = 4) -> None:
        """Mirror every repository, several at a time, until all commits are there, those of submodules too.

        Raises:
            GitError: Some cannot be had; ``problems`` lists all where there are several.
        """
        began = stopwatch()
        wanted: dict[str, set[GitSource]] = {}
        for source in sources:
            wanted.setdefault(check_url(source.url), set()).add(source)
        reused = sum(all(self._has(self._path(url), one.commit) for one in ones) for url, ones in wanted.items())
        self._emit(StageStarted(stage=STAGE, total=len(wanted)))
        with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="git") as pool:
            failures = run_all(pool, self._stop, [(self._fetch_one, item) for item in wanted.items()])
        if failures:
            raise combine(failures, "git repositories could not be fetched")
        self._emit(StageFinished(stage=STAGE, seconds=stopwatch() - began, items=len(wanted), reused=reused))

    def checkout(self, source: GitSource, into: Path) -> Path:
        """Put the commit's tree, with its history and tags, into the new directory ``into``.

        Returns the source tree: ``into``, or the subdirectory. Modes and times do not depend on umask or clock.

        Raises:
            GitError: There is no such commit or subdirectory, or it has submodules and those are not asked for.
        """
        mirror = self._need(source.url, source.commit)
        nested = submodules(self._git, mirror, source)
        place_tree(self._git, mirror, source, into)
        for inner in nested:
            (into / inner.path).rmdir()
            self.checkout(inner.source, into / inner.path)
        settle(into, self.commit_time(source))
        tree = (into / source.subdirectory).resolve()
        if not tree.is_dir() or not tree.is_relative_to(into.resolve()):
            raise GitError(f"{_shown(source)} has no directory {source.subdirectory}", hint="check subdirectory=")
        return into / source.subdirectory

    def show_file(self, url: str, revision: str, path: str) -> tuple[str, bytes]:
        """Return the commit that ``revision`` is, and the content of the file ``path`` there.

        Raises:
            GitError: There is no such revision or file.
        """
        commit = self.resolve(url, revision)
        mirror = self._need(url, commit)
        try:
            done = self._git.local("cat-file", "blob", f"{commit}:{path.lstrip('/')}", cwd=mirror)
        except CommandFailed as error:
            raise GitError(
                f"{redact_url(url)} has no file {path} at {commit}", hint="check path and revision"
            ) from error
        return commit, done.stdout

    def commit_time(self, source: GitSource) -> int:
        """Return the commit's time in seconds since the epoch."""
        mirror = self._need(source.url, source.commit)
        return int(self._git.local("show", "-s", "--format=%ct", source.commit, cwd=mirror).text)

    def _fetch_one(self, wanted: tuple[str, set[GitSource]]) -> None:
        url, sources = wanted
        name = redact_url(url).rstrip("/").rpartition("/")[2].removesuffix(".git")
        self._emit(ItemStarted(stage=STAGE, item=name))
        try:
            for source in sorted(sources, key=lambda source: source.commit):
                self._need_all(source)
        finally:
            self._emit(ItemFinished(stage=STAGE, item=name))
        self._emit(StageAdvanced(stage=STAGE))

    def _need_all(self, source: GitSource) -> None:
        """Mirror a commit and, where they are asked for, its submodules and theirs."""
        mirror = self._need(source.url, source.commit)
        if source.submodules:
            for nested in submodules(self._git, mirror, source):
                self._need_all(nested.source)

    def _look_up(self, url: str, revision: str) -> str | None:
        """Ask the server; as for git itself, a tag wins over a branch of the same name."""
        tag, branch = f"refs/tags/{revision}", f"refs/heads/{revision}"
        names = [f"{revision}^{{}}", revision, f"{tag}^{{}}", tag, branch]
        listing = self._git.remote(url, "ls-remote", "--", url, *names).text
        found = {name: commit for commit, _, name in (line.partition("\t") for line in listing.splitlines())}
        hits = [found[name] for name in names if name in found]
        if tag in found and found.get(branch, hits[0]) != hits[0]:
            self._emit(
                Warned(
                    message=f"{redact_url(url)}: {revision} is a tag and a branch; the tag is taken",
                    hint=f"write {branch} for the branch",
                )
            )
        if tag in found and self._has(self._path(url), hits[0]):
            self._need_tag(url, tag)
        return hits[0] if hits else None

    def _need_tag(self, url: str, tag: str) -> None:
        """Fetch a tag that was set after its commit was mirrored: versions are made from tags."""
        with self._locked(url) as mirror:
            if self._git.local("show-ref", "--verify", "--quiet", tag, cwd=mirror, check=False).returncode:
                self._update(url, mirror)

    def _expand(self, url: str, short: str) -> str | None:
        with self._locked(url) as mirror:
            self._update(url, mirror)
            done = self._git.local("rev-parse", "--verify", "--quiet", f"{short}^{{commit}}", cwd=mirror, check=False)
        return done.text.strip() or None

    def _need(self, url: str, commit: str) -> Path:
        """Return the mirror, fetched if the commit is not in it."""
        mirror = self._path(check_url(url))
        if not _COMMIT.fullmatch(commit):
            raise GitError(f"{redact_url(url)}: {commit!r} is no full SHA", hint="lock again")
        if self._has(mirror, commit):
            return mirror
        with self._locked(url):
            if not self._holds(mirror, commit):
                self._update(url, mirror)
            if not self._holds(mirror, commit):
                # Not on a branch or tag any more, or never (a change under review): many servers still give it.
                self._update_exactly(url, mirror, commit)
            self._git.local("update-ref", f"refs/bundle/{commit}", commit, cwd=mirror)
        return mirror

    def _update(self, url: str, mirror: Path) -> None:
        """Fetch all branches and tags; what refs/bundle names is kept even if it left them."""
        self._fetch(url, mirror, "--prune", "--", url, *_REFS)

    def _update_exactly(self, url: str, mirror: Path, commit: str) -> None:
        try:
            self._fetch(url, mirror, "--", url, commit)
        except GitError as error:
            raise GitError(
                f"{redact_url(url)} has no commit {commit}", hint="check the SHA; was the branch rewritten?"
            ) from error
        if not self._holds(mirror, commit):
            raise GitError(f"{redact_url(url)}: {commit} is no commit", hint="name a commit, not a tree or file")

    def _fetch(self, url: str, mirror: Path, *arguments: str) -> None:
        options = ("--quiet", "--force", "--no-tags", "--no-write-fetch-head")
        self._git.remote(url, "-C", str(mirror), "fetch", *options, *arguments, before=lambda: _clear(mirror))

    def _has(self, mirror: Path, commit: str) -> bool:
        """Return whether the commit was once fetched to its end: its own ref is written last."""
        return (mirror / "refs" / "bundle" / commit).is_file()

    def _holds(self, mirror: Path, commit: str) -> bool:
        done = self._git.local("cat-file", "-t", commit, cwd=mirror, check=False)
        return done.text.strip() == "commit"

    def _path(self, url: str) -> Path:
        return self._store.root / "git" / f"{key_of(url)}.git"

    @contextlib.contextmanager
    def _locked(self, url: str) -> Iterator[Path]:
        mirror = self._path(url)
        mirror.parent.mkdir(parents=True, exist_ok=True)
        with mirror.with_suffix(".lock").open("ab") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self._stop.wait(0.2):
                        raise
            os.utime(mirror.with_suffix(".lock"))  # when it was used last: pruning goes by it
            self._make(mirror)
            yield mirror

    def _make(self, mirror: Path) -> None:
        if (mirror / "HEAD").is_file():
            return
        shutil.rmtree(mirror, ignore_errors=True)
        with self._store.workdir("git") as work:
            self._git.local("init", "--bare", "--quiet", str(work / "new"))
            (work / "new").replace(mirror)


def _clear(mirror: Path) -> None:
    """Remove what a killed git left; called with the mirror's lock held."""
    for path in (*mirror.glob("*.lock"), *(mirror / "refs").rglob("*.lock"), *mirror.glob("objects/pack/tmp_*")):
        path.unlink(missing_ok=True)


def _shown(source: GitSource) -> str:
    return f"{redact_url(source.url)}@{source.commit}"

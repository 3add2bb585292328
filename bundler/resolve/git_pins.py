"""A resolver around another one: git revisions become commits first, so that no resolver asks a repository.

Repositories are asked by our own client, with retries, the credentials of their hosts and a mirror in the store; what
was asked for is put back into the answer.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from bundler.errors import GitError, Problem
from bundler.model.constraint_lines import logical_lines
from bundler.model.requirement import Requested, parse_requirement
from bundler.model.target import Target
from bundler.resolve.port import Resolution, Resolved, Resolver, ResolveRequest, SourceAnswers, SourceMetadata

_AT_ONCE = 4
_COMMIT = re.compile(r"[0-9a-f]{40}")
_GIT = "git+"


@dataclass(frozen=True, kw_only=True)
class Pins:
    """Which commit each revision of a repository is; ``commit_of`` asks (url, revision), once each."""

    commit_of: Callable[[str, str], str]
    _commits: dict[tuple[str, str], str] = field(default_factory=dict)

    def ask(self, wanted: Iterable[Requested]) -> None:
        """Ask for the revisions of all git sources among ``wanted``, several at a time.

        Raises:
            GitError: Some cannot be had; all are named.
        """
        places = {(one.git.url, one.git.revision) for one in wanted if one.git is not None}
        todo = sorted(places - set(self._commits))
        failures: list[GitError] = []

        def one(place: tuple[str, str]) -> None:
            try:
                self._commits[place] = self.commit_of(*place)
            except GitError as error:
                failures.append(error)

        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="git") as pool:
            list(pool.map(one, todo))
        if len(failures) == 1:
            raise failures[0]
        if failures:
            problems = [Problem(where="", what=error.message, hint=error.hint) for error in failures]
            raise GitError(f"{len(failures)} git sources cannot be had", problems=problems)

    def line(self, wanted: Requested) -> str:
        """Return the requirement with the commit in place of the revision."""
        if wanted.git is None:
            return wanted.to_pep508()
        commit = self._commits[wanted.git.url, wanted.git.revision]
        return replace(wanted, git=replace(wanted.git, revision=commit)).to_pep508()


@dataclass(frozen=True, kw_only=True)
class PinningResolver:
    """Asks ``inner``, with commits for revisions."""

    inner: Resolver
    pins: Pins

    @property
    def name(self) -> str:
        """Return the driver's name."""
        return self.inner.name

    @property
    def version(self) -> str:
        """Return the tool's version."""
        return self.inner.version

    def resolve(self, request: ResolveRequest) -> Resolution:
        """Resolve ``request``; see :class:`bundler.resolve.port.Resolver`.

        Raises:
            GitError: Repositories cannot be reached, or have no such revision.
        """
        pinned = _Pinned(self.pins)
        answers = request.answers and _PinnedAnswers(request.answers, pinned)
        found = self.inner.resolve(
            replace(
                request,
                requirements=tuple(pinned.lines(request.requirements)),
                constraints=_constraints(request, pinned),
                answers=answers,
            )
        )
        return replace(found, packages=tuple(pinned.restored(one) for one in found.packages))


@dataclass(frozen=True)
class _Pinned:
    """The pinned lines of one request, and by package and commit what was written there."""

    pins: Pins
    written: dict[tuple[str, str], str] = field(default_factory=dict)

    def lines(self, lines: Sequence[str]) -> list[str]:
        """Return ``lines`` with commits for revisions; commits are looked for, too."""
        wanted = {line: parse_requirement(line) for line in lines if _GIT in line}
        return self._replaced(lines, wanted)

    def moving(self, lines: Sequence[str], targets: Sequence[Target]) -> list[str]:
        """Return ``lines`` with commits for branches and tags that play a part on ``targets``.

        A commit stays as it is, and is not looked for: most of these lines are about packages that nobody takes.
        """
        wanted = {line: parse_requirement(line) for line in lines if _GIT in line}
        return self._replaced(lines, {line: one for line, one in wanted.items() if _moves(one, targets)})

    def restored(self, package: Resolved) -> Resolved:
        """Return the package with the revision that was written, where it was no commit."""
        if package.git is None:
            return package
        written = self.written.get((package.name, package.git.commit), package.git.requested_revision)
        return replace(package, git=replace(package.git, requested_revision=written))

    def _replaced(self, lines: Sequence[str], wanted: Mapping[str, Requested]) -> list[str]:
        self.pins.ask(wanted.values())
        return [self._line(wanted[line]) if line in wanted else line for line in lines]

    def _line(self, wanted: Requested) -> str:
        line = self.pins.line(wanted)
        pinned = parse_requirement(line).git
        if pinned is not None and wanted.git is not None:
            self.written.setdefault((wanted.name, pinned.revision), wanted.git.revision)
        return line


def _moves(wanted: Requested, targets: Sequence[Target]) -> bool:
    if wanted.git is None or _COMMIT.fullmatch(wanted.git.revision):
        return False
    return any(wanted.applies(target.markers) for target in targets)


def _constraints(request: ResolveRequest, pinned: _Pinned) -> str:
    if _GIT not in request.constraints:
        return request.constraints
    lines = [line for _, line in logical_lines(request.constraints)]
    return "".join(f"{line}\n" for line in pinned.moving(lines, request.targets))


@dataclass(frozen=True)
class _PinnedAnswers:
    """Answers whose own git requirements name commits."""

    inner: SourceAnswers
    pinned: _Pinned

    def remembered(self, names: Iterable[str], targets: Sequence[Target]) -> tuple[SourceMetadata, ...]:
        return tuple(self._one(one, targets) for one in self.inner.remembered(names, targets))

    def ask(self, sources: Sequence[Resolved], targets: Sequence[Target]) -> tuple[SourceMetadata, ...]:
        return tuple(self._one(one, targets) for one in self.inner.ask(sources, targets))

    def _one(self, metadata: SourceMetadata, targets: Sequence[Target]) -> SourceMetadata:
        # A revision that is not there matters only if the requirement is taken: it is asked for once more then.
        with contextlib.suppress(GitError):
            return replace(metadata, requires_dist=tuple(self.pinned.moving(metadata.requires_dist, targets)))
        return metadata

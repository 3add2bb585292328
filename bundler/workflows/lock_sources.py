"""Answers a resolver's questions about sources in the build environments of the targets, and remembers them.

A source is asked for every target of the resolve; one that cannot be asked for some of them (a package that only
others take) answers for the rest, and fails later where it is taken after all.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeAlias

from packaging.utils import canonicalize_name

from bundler.errors import (
    BundlerError,
    FetchFailed,
    GitError,
    MetadataError,
    Problem,
    ResolutionFailed,
    WheelBuildFailed,
)
from bundler.events import Emit, ItemFinished, ItemStarted, ignore
from bundler.model.target import Target
from bundler.resolve.choose import Impossible, choose
from bundler.resolve.port import Resolved, SourceMetadata
from bundler.resolve.source_metadata import joined
from bundler.resolve.walk import CoreMeta
from bundler.store.cas import Store, key_of
from bundler.wheels.inspector import INSPECT_VERSION
from bundler.workflows.lock_services import MetadataDesk

STAGE = "resolve"
_KIND = "source-metadata"
_AT_ONCE = 4
#: So many versions of one package are remembered.
_MOST = 12
_Answer: TypeAlias = "CoreMeta | BundlerError"
#: Several failures of one of these sorts are one of it.
_SORTS = (GitError, FetchFailed, WheelBuildFailed)
_FIELDS = frozenset(one.name for one in fields(SourceMetadata))


@dataclass(frozen=True, kw_only=True)
class SourceDesk:
    """Asks through ``desk``; ``commit_of`` is for git sources whose revision is no commit yet."""

    desk: MetadataDesk
    store: Store
    commit_of: Callable[[str, str], str]
    emit: Emit = ignore
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def remembered(self, names: Iterable[str], targets: Sequence[Target]) -> tuple[SourceMetadata, ...]:
        """Return what earlier locks for the same targets learned of source distributions of ``names``."""
        return tuple(one for name in names for one in self._recall(name, targets))

    def ask(self, sources: Sequence[Resolved], targets: Sequence[Target]) -> tuple[SourceMetadata, ...]:
        """Return the metadata of each source, in order; see :class:`bundler.resolve.port.SourceAnswers`."""
        jobs = [(source, target) for source in sources for target in targets]
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="sources") as pool:
            context = contextvars.copy_context()
            answers = list(pool.map(lambda job: context.copy().run(self._read, *job), jobs))
        width = len(targets)
        told = [answers[place * width :][:width] for place in range(len(sources))]
        _refuse(one for row in told if not any(isinstance(answer, CoreMeta) for answer in row) for one in row)
        found = [self._joined(source, targets, row) for source, row in zip(sources, told, strict=True)]
        for metadata in found:
            if metadata.sha256:
                self._remember(metadata, targets)
        return tuple(found)

    def _placed(self, source: Resolved) -> Resolved:
        if source.git is None:
            return source
        return replace(source, git=replace(source.git, commit=self.commit_of(source.git.url, source.git.commit)))

    def _read(self, source: Resolved, target: Target) -> _Answer:
        item = f"{source.name} {source.version}".strip() + f" on {target.name}"
        self.emit(ItemStarted(stage=STAGE, item=item))
        try:
            chosen = choose(self._placed(source), target)
            if isinstance(chosen, Impossible):
                return MetadataError(f"{chosen.name} {chosen.version} on {target.name}: {chosen.reason}")
            return self._checked(source, self.desk.read(self.desk.placed(chosen), target))
        except BundlerError as error:
            return error
        finally:
            self.emit(ItemFinished(stage=STAGE, item=item))

    def _checked(self, source: Resolved, meta: CoreMeta) -> CoreMeta:
        """Return ``meta`` if it is of the package that was asked for."""
        what = f"{source.name} {source.version}".strip()
        if meta.name and canonicalize_name(meta.name) != source.name:
            raise MetadataError(
                f"the source that {what} is to come from says that it is {meta.name}",
                hint="write the name that the source has, or the right address",
            )
        return meta

    def _joined(self, source: Resolved, targets: Sequence[Target], row: Sequence[_Answer]) -> SourceMetadata:
        told = [(target, meta) for target, meta in zip(targets, row, strict=True) if isinstance(meta, CoreMeta)]
        version = source.version or told[0][1].version
        found = joined(source.name, version, told)
        return replace(found, sha256=source.sdist.sha256) if source.sdist is not None else found

    def _recall(self, name: str, targets: Sequence[Target]) -> list[SourceMetadata]:
        known = self.store.recall(_KIND, _key(name, targets))
        rows: list[dict[str, Any]] = known if isinstance(known, list) else []
        return [_from_data(row) for row in rows if set(row) == _FIELDS]

    def _remember(self, metadata: SourceMetadata, targets: Sequence[Target]) -> None:
        with self._lock:
            others = [one for one in self._recall(metadata.name, targets) if one.version != metadata.version]
            rows = [asdict(one) for one in (metadata, *others)][:_MOST]
            self.store.remember(_KIND, _key(metadata.name, targets), rows)


def _from_data(row: dict[str, Any]) -> SourceMetadata:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return SourceMetadata(**values)


def _key(name: str, targets: Sequence[Target]) -> str:
    return key_of(INSPECT_VERSION, name, sorted((one.name, one.python.full_version) for one in targets))


def _refuse(answers: Iterable[_Answer]) -> None:
    """Raise the failures, unless there are none; the same one for several targets is shown once.

    Build requirements that do not resolve are no conflict of the venvs: the type of the error says so.
    """
    failures = {error.message: error for error in answers if isinstance(error, BundlerError)}
    if not failures:
        return
    problems: list[Problem] = []
    if len(failures) == 1:
        (error,) = failures.values()
        if not isinstance(error, ResolutionFailed):
            raise error
        raise MetadataError(error.message, hint=error.hint, problems=error.problems) from error
    for error in failures.values():
        problems += (Problem(where="", what=error.message, hint=error.hint), *error.problems)
    sort = next((sort for sort in _SORTS if all(isinstance(one, sort) for one in failures.values())), MetadataError)
    raise sort(f"{len(failures)} sources do not say what they need", problems=tuple(dict.fromkeys(problems)))

"""What uv is told of sources in the course of one resolve: what is known, what still stands in for an answer.

uv names one source at a time that it would have to build. A stand-in without requirements lets it go on to the next
one; then all are asked together, in the targets' build environments, which is what takes the time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundler.errors import Problem, ResolutionFailed
from bundler.model.constraint_lines import logical_lines
from bundler.resolve.port import Resolved, ResolveRequest, SourceAnswers, SourceMetadata
from bundler.resolve.uv_sources import Source, dependency_metadata, references, stand_in

#: Return what an index or an address offers for sources of different names, by name; uv is told the tables meanwhile.
LookUp: TypeAlias = Callable[[Sequence[Source], list[dict[str, Any]]], Mapping[str, Resolved]]
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class Answers:
    """The state of one resolve; ``look_up`` finds the files of sources that an index has."""

    def __init__(self, request: ResolveRequest, look_up: LookUp) -> None:
        self._request = request
        self._look_up = look_up
        self._references: dict[str, list[Source]] = {}
        for source in references(request):
            self._references.setdefault(source.name, []).append(source)
        self._known = self._remembered()
        self._recalled = set(self._known)
        self._waiting: dict[Source, SourceMetadata] = {}
        if request.answers is not None:
            direct = {str(canonicalize_name(Requirement(line).name)) for line in request.requirements}
            self._settle([one for name, found in self._references.items() if name in direct for one in found])

    def tables(self) -> list[dict[str, Any]]:
        """Return what to tell uv now.

        Raises:
            ResolutionFailed: uv cannot be told without mixing up two sources.
        """
        return dependency_metadata([*self._known.items(), *self._waiting.items()])

    def add(self, source: Source) -> None:
        """Take note of a source that uv would have to build; ask at once where no version stands in for it.

        Raises:
            ResolutionFailed: uv was told of it already.
        """
        wanted = [*self._references.get(source.name, ()), *([] if source.reference else [source])] or [source]
        fresh = [one for one in wanted if one not in self._known and one not in self._waiting]
        if not fresh:
            raise ResolutionFailed(
                f"uv does not take what it was told of {source.line}",
                hint="constrain the package to a version with a wheel, or to another source",
            )
        self._settle([one for one in fresh if one.reference])
        self._waiting.update((one, stand_in(one)) for one in fresh if not one.reference)

    def settle(self) -> bool:
        """Ask for all that still waits; return whether there was anything.

        Raises:
            BuildError: Backends cannot answer.
            SourceError: Sources cannot be had.
            ResolutionFailed: No file of a source is offered with a digest.
        """
        waiting, self._waiting = list(self._waiting), {}
        self._settle(waiting)
        return bool(waiting)

    def distrust(self, packages: Sequence[Resolved]) -> bool:
        """Forget what was remembered of another file than is offered now; return whether there was any.

        So is what was told of an index's version and taken for a git source or a directory that was not asked.
        """
        offered = {
            Source(package.name, package.version): package.sdist.sha256 if package.sdist is not None else ""
            for package in packages
            if package.git is None and package.directory is None
        }
        wrong = {one for one in self._recalled & set(offered) if self._known[one].sha256 != offered[one]}
        told = {one.name for one in self._known if one.reference}
        mistaken = {one.name for one in packages if one.git is not None or one.directory is not None} - told
        wrong |= {one for one in self._known if one.name in mistaken}
        self._drop(wrong)
        return bool(wrong)

    def doubt(self, failure: str) -> bool:
        """Forget what was remembered of packages in the message of a failure; return whether there was any."""
        words = set(re.split(r"[^A-Za-z0-9._-]+|==", failure))
        doubtful = {one for one in self._recalled if one.name in words}
        self._drop(doubtful)
        return bool(doubtful)

    def _drop(self, sources: Iterable[Source]) -> None:
        for source in sources:
            del self._known[source]
            self._recalled.discard(source)

    def notes(self, packages: Iterable[Resolved]) -> tuple[str, ...]:
        """Return what to warn of where ``packages`` are taken."""
        taken = {(package.name, package.version) for package in packages}
        return tuple(one.note for one in self._known.values() if one.note and (one.name, one.version) in taken)

    def _remembered(self) -> dict[Source, SourceMetadata]:
        request = self._request
        if request.answers is None:
            return {}
        lines = [*request.requirements, *request.previous, *(line for _, line in logical_lines(request.constraints))]
        names = {str(canonicalize_name(match[0])) for match in map(_NAME.match, lines) if match}
        found = request.answers.remembered(sorted(names - set(self._references)), request.targets)
        return {Source(one.name, one.version): one for one in found}

    def _settle(self, sources: Sequence[Source]) -> None:
        if not sources:
            return
        answers = self._asked(sources)
        places = self._found(sources)
        told = answers.ask(places, self._request.targets)
        for source, place, metadata in zip(sources, places, told, strict=True):
            digest = place.sdist.sha256 if place.sdist is not None else ""
            self._known[source] = replace(metadata, sha256=digest)

    def _asked(self, sources: Sequence[Source]) -> SourceAnswers:
        if self._request.answers is None:
            raise ResolutionFailed(
                "sources must be asked what they need, and nobody is there to ask",
                problems=[Problem(where=one.line, what="says nothing without its build backend") for one in sources],
            )
        return self._request.answers

    def _found(self, sources: Sequence[Source]) -> list[Resolved]:
        """Return the sources with where they come from."""
        found = {one: _own_place(one) for one in sources}
        offered = [one for one, place in found.items() if place is None]
        for batch in _of_different_names(offered):
            files = self._look_up(batch, dependency_metadata((one, stand_in(one)) for one in batch))
            found.update((one, _of_source(files.get(one.name), one)) for one in batch)
        lacking = [one for one, place in found.items() if place is None]
        if lacking:
            raise ResolutionFailed(
                "sources cannot be asked what they need: no file of theirs is offered with a sha256 digest",
                problems=[Problem(where=one.line, what="has none") for one in lacking],
            )
        return [place for place in found.values() if place is not None]


def _of_different_names(sources: Iterable[Source]) -> list[list[Source]]:
    batches: list[list[Source]] = []
    for source in sources:
        batch = next((one for one in batches if source.name not in {other.name for other in one}), None)
        if batch is None:
            batches.append([source])
        else:
            batch.append(source)
    return batches


def _of_source(file: Resolved | None, source: Source) -> Resolved | None:
    """Return the file without the version of the stand-in, where only an address is known."""
    return file and replace(file, version=source.version)


def _own_place(source: Source) -> Resolved | None:
    """Return a git source or a local source tree; None for a file, which must be looked up."""
    git, directory = source.git, _directory(source)
    if git is None and directory is None:
        return None
    return Resolved(name=source.name, version="", git=git, directory=directory)


def _directory(source: Source) -> Path | None:
    """Return the local source tree that a reference names."""
    parts = urlsplit(source.reference)
    path = Path(unquote(parts.path))
    return path if parts.scheme == "file" and path.is_dir() else None

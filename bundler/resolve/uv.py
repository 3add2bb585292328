"""The resolver driver that runs uv: one resolve for all targets."""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from uv import find_uv_bin

from bundler.errors import DigestMismatch, FetchFailed, IndexMismatch, Problem, ResolutionFailed, ToolMissing
from bundler.model.index import IndexConfig, IndexSpec
from bundler.process import Command, Completed, redact, run
from bundler.resolve.port import Resolution, Resolved, ResolveRequest
from bundler.resolve.tool import bare_configuration, environment, failure, refused, secrets_of
from bundler.resolve.uv_answers import Answers
from bundler.resolve.uv_messages import NO_SOLUTION, NO_WHEEL, mismatched, read_conflict, refusals, unfetched
from bundler.resolve.uv_project import (
    direct_names,
    full_key,
    oldest_python,
    preferences_text,
    project_text,
    read_answer,
    without_credentials,
)
from bundler.resolve.uv_sources import GUARD, GUARD_NAME, NO_GIT, Source, unbuilt

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^ ;]+)")
_FROM = "# from "
_WARNING = "warning: "
#: Warnings that say nothing to the person who wrote the manifest.
_NOISE = ("The requested Python", "Requirements file `constraints.txt`")


@dataclass(frozen=True, kw_only=True)
class _Round:
    """What differs from run to run of one resolve: ``forced`` are bound packages made direct requirements.

    ``everywhere`` solves for all systems: uv then takes versions that have no wheel for a target, too. ``told`` is
    the metadata of sources that uv may not build.
    """

    forced: frozenset[str] = frozenset()
    everywhere: bool = False
    told: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One request at work in its private directory."""

    program: str
    request: ResolveRequest
    directory: Path
    round: _Round

    def compile(self, output: str, *options: str) -> Completed:
        """Run `uv pip compile` on the project file; the answer goes to the file ``output``."""
        request = self.request
        env = environment(request.indexes, {**bare_configuration(self.directory / "config", "uv"), **self._guarded()})
        self._write(env)
        argv = [self.program, "pip", "compile", "pyproject.toml", "--universal", "--no-header", "--no-progress"]
        argv += ["--python-version", oldest_python(request.targets), "--python", sys.executable]
        argv += ["--constraints", "constraints.txt", "--no-build-isolation"]
        argv += ["--index-strategy", "first-index", "--output-file", output, *options]
        argv += self._refreshed()
        argv += [part for name in self.loose() for part in ("--only-binary", name)]
        argv += [part for folder in request.indexes.folders for part in ("--find-links", str(folder.resolve()))]
        secrets = secrets_of(env)
        done = run(Command(argv=argv, env=env, cwd=self.directory, secrets=secrets), check=False)
        return Completed(
            returncode=done.returncode,
            stdout=b"",
            stderr=redact(done.stderr.decode("utf-8", "replace"), secrets).encode(),
        )

    def read(self, name: str) -> str:
        """Return the text of a file of the directory."""
        return (self.directory / name).read_text(encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        """Write a file of the directory."""
        (self.directory / name).write_text(text, encoding="utf-8")

    def _write(self, env: dict[str, str]) -> None:
        nowhere = self.directory / "nowhere"
        nowhere.mkdir(exist_ok=True)
        text = project_text(
            self.request,
            self.round.forced,
            nowhere.as_uri(),
            everywhere=self.round.everywhere,
            told=self.round.told,
        )
        self.write("pyproject.toml", text)
        self.write("constraints.txt", self.request.constraints)
        if self.request.indexes.client_cert:
            env.setdefault("SSL_CLIENT_CERT", self.request.indexes.client_cert)

    def _refreshed(self) -> list[str]:
        """Return options that look again for versions, where that is what an upgrade wants."""
        upgrade = self.request.upgrade
        if isinstance(upgrade, frozenset):
            return [part for name in sorted(upgrade) for part in ("--refresh-package", name)]
        return ["--refresh"] if upgrade else []

    def loose(self) -> list[str]:
        """Return bound packages whose binding uv does not know yet: a namesake of theirs must never be built."""
        known = {*self.round.forced, *direct_names(self.request.requirements)}
        return sorted(set(self.request.indexes.bound()) - known)

    def _guarded(self) -> dict[str, str]:
        """Return variables that keep uv from building and from fetching repositories."""
        guard = self.directory / "guard"
        guard.mkdir(exist_ok=True)
        (guard / GUARD_NAME).write_text(GUARD, encoding="utf-8")
        return {"PYTHONPATH": str(guard), "UV_PYTHON_DOWNLOADS": "never", **NO_GIT}


class _Unbuilt(Exception):
    """uv stopped at a source; never leaves this module."""

    def __init__(self, source: Source) -> None:
        super().__init__(source.line)
        self.source = source


class UvResolver:
    """Resolve for any number of targets at once with `uv pip compile --universal`."""

    name = "uv"

    @cached_property
    def version(self) -> str:
        """Return uv's version."""
        text = run(Command(argv=[self._program, "--version"]), timeout=60).text
        return text.split()[1] if len(text.split()) > 1 else text.strip()

    @cached_property
    def _program(self) -> str:
        try:
            return find_uv_bin()
        except FileNotFoundError as error:
            raise ToolMissing("uv is not installed", hint="pip install uv, or use --resolver pip") from error

    def resolve(self, request: ResolveRequest) -> Resolution:
        """Resolve ``request``; see :class:`bundler.resolve.port.Resolver`."""
        answers = Answers(request, partial(self._look_up, request))
        try:
            return self._rounds(request, answers, everywhere=False)
        except ResolutionFailed as error:
            if NO_WHEEL not in error.message:
                raise
            # uv names the first package without a file for a target; the coverage matrix names all of them.
            with contextlib.suppress(ResolutionFailed):
                return self._rounds(request, answers, everywhere=True)
            raise

    def _rounds(self, request: ResolveRequest, answers: Answers, *, everywhere: bool) -> Resolution:
        """Resolve until uv knows the binding of every bound package, and what every source requires."""
        forced: frozenset[str] = frozenset()
        while True:
            try:
                found, missed = self._attempt(
                    request, _Round(forced=forced, everywhere=everywhere, told=answers.tables())
                )
            except _Unbuilt as error:
                answers.add(error.source)
                continue
            except ResolutionFailed as error:
                if answers.settle() or answers.doubt(error.message):
                    continue
                raise
            forced |= missed
            if not (missed or answers.settle() or answers.distrust(found.packages)):
                return replace(found, warnings=(*found.warnings, *answers.notes(found.packages)))

    def _look_up(
        self, request: ResolveRequest, sources: Sequence[Source], told: list[dict[str, Any]]
    ) -> dict[str, Resolved]:
        """Return what is offered for each source, whatever it may require."""
        newest = max(request.targets, key=full_key)
        lines = tuple(source.line for source in sources)
        alone = replace(request, requirements=lines, targets=(newest,), constraints="", previous={}, upgrade=False)
        found, _ = self._attempt(alone, _Round(everywhere=True, told=told))
        return {one.name: one for one in found.packages if one.sdist is not None}

    def _attempt(self, request: ResolveRequest, step: _Round) -> tuple[Resolution, frozenset[str]]:
        """Resolve once; return also the bound packages that have to become direct requirements."""
        with tempfile.TemporaryDirectory(prefix="bundle-resolve-") as name:
            return self._run(_Run(program=self._program, request=request, directory=Path(name), round=step))

    def _run(self, attempt: _Run) -> tuple[Resolution, frozenset[str]]:
        loose = attempt.loose()
        attempt.write("pylock.toml", preferences_text(attempt.request.preferred.items()))
        done = attempt.compile("pylock.toml", "--format", "pylock.toml")
        stderr = done.stderr.decode()
        if done.returncode != 0:
            return Resolution(packages=()), _missed(stderr, loose, attempt.request.indexes)
        packages = read_answer(attempt.read("pylock.toml"), stderr)
        missed = {one.name for one in packages if one.git is None and one.directory is None} & set(loose)
        if not missed:
            self._check_indexes(attempt, packages)
        return Resolution(packages=packages, warnings=_warnings(stderr)), frozenset(missed)

    def _check_indexes(self, attempt: _Run, packages: Iterable[Resolved]) -> None:
        """Have uv say where bound packages come from, and refuse any other place than their index."""
        bound = attempt.request.indexes.bound()
        direct = direct_names(attempt.request.requirements)
        checked = [one for one in packages if one.name in bound and direct.get(one.name, True)]
        if not checked:
            return
        pins = [f"{one.name}=={one.version}" for one in packages if one.version and one.git is None]
        again = replace(attempt, directory=attempt.directory / "indexes")
        again.directory.mkdir()
        again.write("requirements.txt", "\n".join(pins) + "\n")
        done = again.compile("requirements.txt", "--emit-index-annotation", "--no-annotate")
        if done.returncode != 0:
            raise _error(done.stderr.decode(), attempt.request.indexes)
        refuse_strangers(checked, bound, read_indexes(again.read("requirements.txt")))


def _missed(stderr: str, loose: Iterable[str], indexes: IndexConfig) -> frozenset[str]:
    """Return the bound packages that a failure mentions, or raise what it is."""
    source = unbuilt(stderr)
    if source is not None and source.name not in loose:
        raise _Unbuilt(source)
    mentioned = frozenset(name for name in loose if re.search(rf"\b{re.escape(name)}\b", stderr))
    if not mentioned:
        raise _error(stderr, indexes)
    return mentioned


def read_indexes(text: str) -> dict[tuple[str, str], str]:
    """Return the index of every pin of an annotated requirements file."""
    found: dict[tuple[str, str], str] = {}
    pin = ("", "")
    for line in text.splitlines():
        match = _PIN.match(line)
        if match:
            pin = (str(canonicalize_name(match["name"])), match["version"])
        elif line.strip().startswith(_FROM):
            found[pin] = without_credentials(line.strip().removeprefix(_FROM))
    return found


def refuse_strangers(
    packages: Iterable[Resolved], bound: dict[str, IndexSpec], places: dict[tuple[str, str], str]
) -> None:
    """Raise where a bound package does not come from its index.

    Raises:
        IndexMismatch: At least one; all are named.
    """
    problems = []
    for one in packages:
        index = bound[one.name]
        place = places.get((one.name, one.version), "an unknown place")
        if place.rstrip("/") != (index.url or "").rstrip("/"):
            problems.append(
                Problem(where=f"{one.name} {one.version}", what=f"comes from {place}, not from {index.name}")
            )
    if problems:
        raise IndexMismatch(
            "packages that are bound to an index would come from elsewhere",
            hint="publish them in their index, or change packages: of the index",
            problems=problems,
        )


def _warnings(stderr: str) -> tuple[str, ...]:
    lines = (line.removeprefix(_WARNING) for line in stderr.splitlines() if line.startswith(_WARNING))
    return tuple(dict.fromkeys(line for line in lines if not line.startswith(_NOISE)))


def _failure(text: str) -> Exception:
    wrong = mismatched(text)
    if wrong is not None:
        what, expected, got = wrong
        return DigestMismatch(
            f"{what} is not what the index names: expected {expected}, got {got}",
            hint="find out who changed the file; a mirror may be out of step with its index",
        )
    found = unfetched(text)
    if found is None:
        return failure("uv", text)
    url, reason = found
    return FetchFailed(f"{url} cannot be read: {reason}", hint="check the network, the proxy and the credentials")


def _error(stderr: str, indexes: IndexConfig) -> Exception:
    text = "\n".join(line for line in stderr.splitlines() if not line.startswith(_WARNING)).strip()
    if NO_SOLUTION not in text:
        return _failure(text)
    found = refusals(text)
    if found:
        return refused(indexes, found)
    explanation = text.partition("cause: ")[2] or text
    return ResolutionFailed(
        "no versions satisfy everything that is asked for\n" + explanation.partition("\nhint:")[0].strip(),
        problems=read_conflict(explanation, {name: index.name for name, index in indexes.bound().items()}),
    )

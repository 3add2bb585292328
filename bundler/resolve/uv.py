"""The resolver driver that runs uv: one resolve for all targets."""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from packaging.utils import canonicalize_name
from uv import find_uv_bin

from bundler.errors import IndexMismatch, Problem, ResolutionFailed, ToolMissing
from bundler.model.index import IndexConfig, IndexSpec
from bundler.process import Command, Completed, redact, run
from bundler.resolve.port import Resolution, Resolved, ResolveRequest
from bundler.resolve.tool import bare_configuration, environment, failure, refused, secrets_of
from bundler.resolve.uv_messages import NO_SOLUTION, NO_WHEEL, read_conflict, refusals
from bundler.resolve.uv_project import (
    direct_names,
    oldest_python,
    preferences_text,
    project_text,
    read_answer,
    without_credentials,
)

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^ ;]+)")
_FROM = "# from "
_WARNING = "warning: "
#: Warnings that say nothing to the person who wrote the manifest.
_NOISE = ("The requested Python", "Requirements file `constraints.txt`", "Requirements file `build-constraints.txt`")


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One request at work in its private directory; ``forced`` are bound packages made direct requirements.

    ``everywhere`` solves for all systems: uv then takes versions that have no wheel for a target, too.
    """

    program: str
    request: ResolveRequest
    directory: Path
    forced: frozenset[str] = frozenset()
    everywhere: bool = False

    def compile(self, output: str, *options: str) -> Completed:
        """Run `uv pip compile` on the project file; the answer goes to the file ``output``."""
        request = self.request
        env = environment(
            request.indexes, {**bare_configuration(self.directory / "config", "uv"), "UV_PYTHON_DOWNLOADS": "never"}
        )
        self._write(env)
        argv = [self.program, "pip", "compile", "pyproject.toml", "--universal", "--no-header", "--no-progress"]
        argv += ["--python-version", oldest_python(request.targets), "--python", self._interpreter()]
        argv += ["--constraints", "constraints.txt", "--build-constraints", "build-constraints.txt"]
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
        self.write(
            "pyproject.toml", project_text(self.request, self.forced, nowhere.as_uri(), everywhere=self.everywhere)
        )
        self.write("constraints.txt", self.request.constraints)
        self.write("build-constraints.txt", self.request.build_constraints)
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
        known = {*self.forced, *direct_names(self.request.requirements)}
        return sorted(set(self.request.indexes.bound()) - known)

    def _interpreter(self) -> str:
        """Return the Python that builds the metadata of sources: a target's own where this host has it."""
        own = (target.python.executable for target in self.request.targets)
        return next((path for path in own if Path(path).exists()), sys.executable)


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
        try:
            return self._rounds(request, everywhere=False)
        except ResolutionFailed as error:
            if NO_WHEEL not in error.message:
                raise
            # uv names the first package without a file for a target; the coverage matrix names all of them.
            with contextlib.suppress(ResolutionFailed):
                return self._rounds(request, everywhere=True)
            raise

    def _rounds(self, request: ResolveRequest, *, everywhere: bool) -> Resolution:
        """Resolve until uv knows the binding of every bound package that takes part."""
        forced: frozenset[str] = frozenset()
        while True:
            with tempfile.TemporaryDirectory(prefix="bundle-resolve-") as name:
                attempt = _Run(
                    program=self._program,
                    request=request,
                    directory=Path(name),
                    forced=forced,
                    everywhere=everywhere,
                )
                found, missed = self._attempt(attempt, attempt.loose())
            if not missed:
                return found
            forced |= missed

    def _attempt(self, attempt: _Run, loose: Iterable[str]) -> tuple[Resolution, frozenset[str]]:
        """Resolve once; return also the bound packages that have to become direct requirements."""
        attempt.write("pylock.toml", preferences_text(attempt.request.preferred.items()))
        done = attempt.compile("pylock.toml", "--format", "pylock.toml")
        stderr = done.stderr.decode()
        if done.returncode != 0:
            mentioned = frozenset(name for name in loose if re.search(rf"\b{re.escape(name)}\b", stderr))
            if mentioned:
                return Resolution(packages=()), mentioned
            raise _error(stderr, attempt.request.indexes)
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


def _error(stderr: str, indexes: IndexConfig) -> Exception:
    text = "\n".join(line for line in stderr.splitlines() if not line.startswith(_WARNING)).strip()
    if NO_SOLUTION not in text:
        return failure("uv", text)
    found = refusals(text)
    if found:
        return refused(indexes, found)
    explanation = text.partition("cause: ")[2] or text
    return ResolutionFailed(
        "no versions satisfy everything that is asked for\n" + explanation.partition("\nhint:")[0].strip(),
        problems=read_conflict(explanation, {name: index.name for name, index in indexes.bound().items()}),
    )

"""Adopt what another tool left: requirements, a freeze, or a wheelhouse becomes a manifest."""

from __future__ import annotations

import os.path
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bundler.errors import Problem, RequirementError, UsageError
from bundler.events import Emit, Noted, Warned
from bundler.files import read_limited, write
from bundler.model.adopt import Adopted, manifest_text, release_name
from bundler.model.adopt_requirements import RequirementsReader
from bundler.model.adopt_wheelhouse import adopt_wheelhouse
from bundler.workflows.manifest import check_text

_MOST_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class AdoptRequest:
    """What to adopt, the release's name and version, and where the manifest goes (None: it is only returned).

    With ``partial``, what cannot be carried over is left out with a warning instead of ending the run.
    """

    source: Path
    name: str = ""
    version: str = "1"
    output: Path | None = None
    partial: bool = False
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class AdoptReport:
    """The manifest's text, what is done otherwise from now on, and what was left out."""

    text: str
    notes: tuple[Problem, ...]
    left_out: tuple[Problem, ...]


def adopt(request: AdoptRequest, emit: Emit) -> AdoptReport:
    """Return the manifest of what is at ``request.source``, and write it where that is wanted.

    Raises:
        RequirementError: Something cannot be carried over; ``problems`` lists all of it.
        ManifestError: The name or version given cannot be a release's.
        UsageError: There is nothing to adopt, or a manifest is there already.
    """
    if request.output is not None and request.output.exists() and not request.force:
        raise UsageError(f"{request.output} is there already", hint="--force replaces it")
    base = (request.output.parent if request.output is not None else Path()).absolute()
    adopted = _read(request.source.absolute(), base)
    if adopted.problems and not request.partial:
        raise RequirementError(
            f"{request.source}: {_things(len(adopted.problems))} cannot be carried over",
            hint="change them, or --partial leaves them out",
            problems=adopted.problems,
        )
    if not adopted.packages:
        raise UsageError(f"{request.source} names no package", hint="give requirements, a freeze, or a wheelhouse")
    name = request.name or release_name(request.source.absolute().stem)
    text = manifest_text(adopted, name=name, version=request.version, origin=request.source.name)
    check_text(text, (request.output or base / "manifest.yaml").absolute())
    _tell(adopted, emit)
    if request.output is not None:
        write(request.output, text.encode())
    return AdoptReport(text=text, notes=tuple(adopted.notes), left_out=tuple(adopted.problems))


def _things(count: int) -> str:
    return "1 thing" if count == 1 else f"{count} things"


def _read(source: Path, base: Path) -> Adopted:
    if not source.is_dir():
        reader = RequirementsReader(read=partial(read_limited, limit=_MOST_BYTES), base=base)
        reader.file(source)
        return reader.finish()
    names = (entry.name for entry in source.iterdir() if entry.is_file())
    return adopt_wheelhouse(names, os.path.relpath(source, base))


def _tell(adopted: Adopted, emit: Emit) -> None:
    for note in adopted.notes:
        emit(Noted(message=str(note)))
    for problem in adopted.problems:
        emit(Warned(message=f"left out: {problem.where}: {problem.what}".replace(": : ", ": "), hint=problem.hint))

"""A manifest from OpenStack's own data: its release team's deliverables, or OpenStack-Ansible's git sources."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

from bundler.errors import ManifestError, Problem, UsageError
from bundler.events import Emit, Noted, Warned, ignore
from bundler.files import read_limited, write
from bundler.model.constraints import Layer, merge, scan_layer
from bundler.model.lock import Shadowed
from bundler.model.manifest_roles import OpenStackAnsible
from bundler.model.openstack_deliverables import read_deliverable
from bundler.model.openstack_manifest import (
    OWN_LAYER,
    LayerSource,
    Wanted,
    clients,
    manifest_text,
    own_lines,
    user_lines,
)
from bundler.model.openstack_release import Release
from bundler.model.openstack_roles import known_roles
from bundler.model.openstack_source_git import REQUIREMENTS, GitPin, SourceGit
from bundler.sources.constraint_files import MOST_BYTES
from bundler.workflows.manifest import check_text, read_document

_UPPER_FILE = "upper-constraints.txt"
_BRANCHES = get_args(OpenStackAnsible.model_fields["branch"].annotation)
_DECIDE = "put a line into a layer above both to decide otherwise"


@dataclass(frozen=True, kw_only=True)
class OpenStackRequest:
    """Where the data is, and what of it is wanted; ``output`` None: the manifest is only returned.

    Exactly one of ``deliverables`` and ``source_git`` is given; ``tag`` ends the install paths.
    """

    deliverables: tuple[Path, ...] = ()
    source_git: tuple[Path, ...] = ()
    upper: Path | None = None
    pins: Path | None = None
    services: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("auto",)
    extra: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    name: str = "openstack"
    version: str = ""
    tag: str = ""
    output: Path | None = None
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class OpenStackReport:
    """The manifest's text, its venvs, which constraints lost to which, and what became no part of it, by reason."""

    text: str
    version: str
    venvs: tuple[str, ...]
    shadowed: tuple[Shadowed, ...]
    left_out: dict[str, list[str]]


@dataclass(kw_only=True)
class _Reading:
    """What was read so far, and everything that is wrong with it. Places are shown relative to ``base``."""

    base: Path
    release: Release
    problems: list[Problem] = field(default_factory=list)
    pins: list[GitPin] = field(default_factory=list)

    def shown(self, path: Path) -> str:
        """Return the path as messages and the manifest write it."""
        return os.path.relpath(path.absolute(), self.base)

    def layer(self, name: str, path: Path | None, read: Callable[[Path], bytes]) -> tuple[Layer | None, str]:
        """Return a constraint layer with its text; None where there is none."""
        if path is None:
            return None, ""
        try:
            text = read(path).decode("utf-8")
        except (OSError, ValueError) as error:
            self.problems.append(_unreadable(self.shown(path), error))
            return None, ""
        found, problems = scan_layer(name, text, self.shown(path))
        self.problems.extend(problems)
        return found, text


def from_openstack(request: OpenStackRequest, emit: Emit = ignore) -> OpenStackReport:
    """Return the manifest of the release, and write it where that is wanted.

    Raises:
        UsageError: Options do not fit together, or there is a file already.
        ManifestError: Documents are wrong; ``problems`` lists all of all of them with file, line and field.
    """
    _check(request)
    base = (request.output.parent if request.output is not None else Path()).absolute()
    # 1. Everything is read before anything is judged: all problems show at once.
    reading = _Reading(base=base, release=Release(roles=known_roles()))
    _read_deliverables(request, reading)
    _read_pins(request, reading)
    reading.release.keep(request.services)
    read = partial(read_limited, limit=MOST_BYTES)
    upper, upper_text = reading.layer("upper", request.upper, read)
    pins, _ = reading.layer("pins", request.pins, read)
    version = _version(request, reading)
    problems = [*reading.problems, *reading.release.problems]
    if problems:
        _refuse(problems)
    if not reading.release.services:
        raise ManifestError("nothing that was given is a service", hint="give deliverables of type service")
    # 2. The layers, and where they contradict each other.
    layers = _layers(request, reading, version, upper, pins)
    shadowed = merge([one.layer for one in layers if one.layer is not None]).shadowed
    wanted = Wanted(
        release=reading.release,
        name=request.name,
        version=version,
        targets=request.targets,
        layers=layers,
        shadowed=shadowed,
        tag=request.tag or reading.release.tag,
        role_files=_role_files(request, reading, version),
        extra=request.extra,
        origin="deliverables of its release team" if request.deliverables else "OpenStack-Ansible's git sources",
        clients=clients(upper, upper_text),
    )
    text = manifest_text(wanted)
    # 3. What is written passes the check of manifests.
    place = base / (request.output.name if request.output is not None else "manifest.yaml")
    check_text(text, place)
    report = OpenStackReport(
        text=text,
        version=version,
        venvs=(*reading.release.services, *request.extra),
        shadowed=shadowed,
        left_out=reading.release.left_out,
    )
    _tell(report, reading.pins, emit)
    if request.output is not None:
        write(request.output, text.encode())
    return report


def _check(request: OpenStackRequest) -> None:
    if bool(request.deliverables) == bool(request.source_git):
        raise UsageError(
            "give either --deliverables or --source-git",
            hint="deliverables: what was released; source-git: the very commits of an OpenStack-Ansible release",
        )
    if request.deliverables and request.upper is None:
        raise UsageError("give --upper-constraints too", hint="upper-constraints.txt of the same series")
    if request.output is not None and request.output.exists() and not request.force:
        raise UsageError(f"{request.output} is there already", hint="--force replaces it")


def _files(places: Iterable[Path], pattern: str) -> list[Path]:
    """Return the files, and those below the directories that fit ``pattern``."""
    found: dict[Path, None] = {}
    for place in places:
        for path in sorted(place.rglob(pattern)) if place.is_dir() else [place]:
            found[path] = None
    return list(found)


def _read(paths: Sequence[Path], reading: _Reading) -> list[tuple[str, bytes]]:
    found = ((reading.shown(path), _attempt(path, reading)) for path in paths)
    return [(shown, data) for shown, data in found if data is not None]


def _attempt(path: Path, reading: _Reading) -> bytes | None:
    try:
        return read_document(path)
    except OSError as error:
        reading.problems.append(_unreadable(reading.shown(path), error))
        return None


def _unreadable(where: str, error: Exception) -> Problem:
    return Problem(where=where, what=f"cannot be read: {getattr(error, 'strerror', None) or error}")


def _read_deliverables(request: OpenStackRequest, reading: _Reading) -> None:
    deliverables = []
    for shown, data in _read(_files(request.deliverables, "*.yaml"), reading):
        one, problems = read_deliverable(data, shown)
        reading.problems.extend(problems)
        if one is not None:
            deliverables.append(one)
    reading.release.add_deliverables(deliverables)


def _read_pins(request: OpenStackRequest, reading: _Reading) -> None:
    reader = SourceGit(variables=request.variables)
    reader.read(_read(_files(request.source_git, "source_git.yml"), reading))
    reading.problems.extend(reader.problems)
    reading.pins = reader.pins
    reading.release.add_pins(reader.pins)
    if request.source_git and request.upper is None and not any(pin.key == REQUIREMENTS for pin in reader.pins):
        what = "no file pins the repository of the upper constraints"
        hint = "give inventory/group_vars/all/source_git.yml too, or --upper-constraints"
        reading.problems.append(Problem(where="--source-git", what=what, hint=hint))


def _version(request: OpenStackRequest, reading: _Reading) -> str:
    """Return the release's version: what was asked for, else the one series that all files are of."""
    series = reading.release.series
    if request.version or reading.problems:
        return request.version
    if len(series) == 1:
        return next(iter(series))
    what = "several series" if series else "no series is named"
    told = "; ".join(f"{name} at {where}" for name, where in series.items())
    problem = Problem(where="release.version", what=f"{what}: {told}" if told else what, hint="give --version")
    reading.problems.append(problem)
    return ""


def _layers(
    request: OpenStackRequest, reading: _Reading, version: str, upper: Layer | None, pins: Layer | None
) -> list[LayerSource]:
    user, own = user_lines(reading.release, version, upper), own_lines(reading.release, upper)
    found = []
    if user:
        found.append(_written("user", user, "What the index has taken back since the release was tested."))
    if request.pins is not None:
        place = {"file": reading.shown(request.pins)}
        found.append(LayerSource(name="pins", fields=place, comment="OpenStack-Ansible's own pins.", layer=pins))
    if own:
        found.append(_written(OWN_LAYER, own, "What comes from elsewhere than the upper constraints say."))
    comment = "What the release was tested with."
    if request.upper is not None:
        place = {"file": reading.shown(request.upper)}
        found.append(LayerSource(name="upper", fields=place, comment=comment, layer=upper))
    else:
        pin = next(one for one in reading.pins if one.key == REQUIREMENTS)
        git = {"url": pin.url, "revision": pin.revision, "path": _UPPER_FILE}
        found.append(LayerSource(name="upper", fields={"git": git}, comment=comment))
    return found


def _role_files(request: OpenStackRequest, reading: _Reading, version: str) -> dict[str, Any]:
    """Return the section for OpenStack-Ansible, where its own version is known."""
    tag = request.tag or reading.release.tag
    if not tag:
        return {}
    found: dict[str, Any] = {"branch": version} if version in _BRANCHES else {}
    found["release"] = tag
    if request.pins is not None:
        found["global_constraints"] = reading.shown(request.pins)
    pin = next((one for one in reading.pins if one.key == REQUIREMENTS), None)
    if pin is not None and request.upper is not None:
        found["upper_constraints"] = {"id": pin.revision}
    return found


def _written(name: str, lines: Sequence[str], comment: str) -> LayerSource:
    layer, _ = scan_layer(name, "\n".join(lines), f"manifest layer {name}")
    return LayerSource(name=name, fields={"lines": list(lines)}, comment=comment, layer=layer)


def _refuse(problems: Sequence[Problem]) -> None:
    unique = tuple(dict.fromkeys(problems))
    count = "1 problem" if len(unique) == 1 else f"{len(unique)} problems"
    raise ManifestError(f"the data of the release has {count}", hint="nothing was written", problems=unique)


def _tell(report: OpenStackReport, pins: Sequence[GitPin], emit: Emit) -> None:
    for one in report.shadowed:
        said = f"{one.winner} ({one.winner_where}) wins over {one.loser} ({one.loser_where})"
        between_files = one.winner_where.startswith("pins ")
        emit(Warned(message=said, hint=_DECIDE) if between_files else Noted(message=said))
    for pin in pins:
        if not pin.exact:
            said = f"{pin.where}: {pin.key} is at {pin.revision}, which is no commit"
            emit(Warned(message=said, hint="the lock records the commit that it names"))
    for reason, names in report.left_out.items():
        emit(Noted(message=f"left out, {reason}: {', '.join(names)}"))

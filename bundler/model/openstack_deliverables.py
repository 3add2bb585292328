"""Deliverable files of OpenStack's release team: which repositories were released as what, and when last.

One file describes one deliverable of one series; its schema is ``openstack_releases/schema.yaml`` of the repository
openstack/releases. Only what a manifest needs is read.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from bundler.errors import Problem, RequirementError
from bundler.model.manifest_tree import FieldPath
from bundler.model.nearest import nearest
from bundler.model.openstack_fields import Fields, open_fields
from bundler.model.requirement import normalise

SERVICE, DASHBOARD, OTHER = "service", "horizon-plugin", "other"
#: What the release team calls the kinds of deliverables.
TYPES = (SERVICE, "library", "client-library", DASHBOARD, "tempest-plugin", "trailing", OTHER)
#: Kinds of releases that publish no Python package.
_NO_PYTHON = frozenset(("fuel", "manila-image-elements", "nodejs", "openstack-manuals", "puppet", "xstatic-js"))
_SERIES = re.compile(r"(?:stable|unmaintained)/(?P<series>\w[\w.]*)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Project:
    """A repository as it was released last: ``name`` is the distribution's, ``where`` the line of the release."""

    name: str
    repo: str
    version: str
    commit: str
    where: str

    @property
    def short(self) -> str:
        """Return the repository without its namespace: ``nova`` of ``openstack/nova``."""
        return posixpath.basename(self.repo)


@dataclass(frozen=True, kw_only=True)
class Deliverable:
    """One file: what it is, whose, of which series, and the projects of its last release (none: not released)."""

    name: str
    kind: str
    team: str
    series: str
    where: str
    packaged: bool
    projects: tuple[Project, ...]


def read_deliverable(data: bytes, file: str) -> tuple[Deliverable | None, tuple[Problem, ...]]:
    """Return the deliverable that ``data`` describes, or everything that is wrong with it."""
    fields, problems = open_fields(data, file)
    if fields is None:
        return None, problems
    kind = fields.text(("type",), f"one of {', '.join(TYPES)}")
    if kind and kind not in TYPES:
        fields.refuse(("type",), f"{kind!r} is no type of deliverable", nearest(kind, TYPES))
    projects = tuple(_last_release(fields))
    stem = posixpath.basename(file).rsplit(".", 1)[0]
    found = Deliverable(
        name=projects[0].short if len(projects) == 1 else stem,
        kind=kind,
        team=fields.text(("team",)),
        series=_series(fields),
        where=fields.tree.where,
        packaged=fields.text(("release-type",)) not in _NO_PYTHON,
        projects=projects,
    )
    return (None, tuple(fields.problems)) if fields.problems else (found, ())


def _series(fields: Fields) -> str:
    """Return the series of the last stable branch; a project may have branches of other kinds."""
    names = (fields.text((*path, "name"), "the branch's name") for path in fields.items(("branches",)))
    matches = (_SERIES.fullmatch(name) for name in names)
    return next(iter([match["series"] for match in matches if match is not None][::-1]), "")


def _last_release(fields: Fields) -> Iterator[Project]:
    releases = list(fields.items(("releases",)))
    if not releases:
        return
    last = releases[-1]
    version = fields.text((*last, "version"), "the version that was released")
    try:
        Version(version)
    except InvalidVersion:
        if version:
            fields.refuse((*last, "version"), f"{version!r} is no version (PEP 440)")
    projects = list(fields.items((*last, "projects")))
    if not projects:
        fields.refuse((*last, "projects"), "is missing", "the repositories that were released")
    for path in projects:
        yield from _project(fields, path, version)


def _project(fields: Fields, path: FieldPath, version: str) -> Iterator[Project]:
    repo = fields.text((*path, "repo"), "the repository, e.g. openstack/nova")
    commit = fields.text((*path, "hash"), "the commit that was released")
    if commit and _COMMIT.fullmatch(commit) is None:
        fields.refuse((*path, "hash"), f"{commit!r} is no commit", "40 hexadecimal digits")
    if not repo:
        return
    name = _name(fields, repo, path)
    if name:
        yield Project(name=name, repo=repo, version=version, commit=commit, where=fields.where((*path, "repo")))


def _name(fields: Fields, repo: str, path: Sequence[str | int]) -> str:
    """Return what the distribution is called: pypi-name, else tarball-base, else as the repository."""
    settings = ("repository-settings", repo)
    said = (
        fields.text((*settings, "pypi-name")),
        fields.text((*path, "tarball-base")),
        fields.text((*settings, "tarball-base")),
    )
    name = next((text for text in said if text), posixpath.basename(repo))
    try:
        normalise(name)
    except RequirementError as error:
        fields.refuse((*path, "repo"), error.message, error.hint)
        return ""
    return name

"""A release of OpenStack as venvs: which sources become one, which a group of another, which neither. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name

from bundler.errors import Problem
from bundler.model.nearest import nearest
from bundler.model.openstack_deliverables import DASHBOARD, OTHER, SERVICE, Deliverable, Project
from bundler.model.openstack_roles import Role, Roles
from bundler.model.openstack_source_git import REQUIREMENTS, GitPin

#: Clones that consoles serve as they are: no Python packages.
_NO_PYTHON = frozenset(("novncproxy", "spicehtml5"))
_NO_PACKAGE = "no Python package"
_REASONS = dict.fromkeys(("library", "client-library"), "libraries: the upper constraints have them")
_DASHBOARDS = ("horizon", "more-dashboards")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a distribution comes from: ``version`` of the index, or ``git``; ``origin`` says who says so."""

    name: str
    origin: str
    where: str
    version: str = ""
    git: str = ""

    def requirement(self, extras: str = "") -> str:
        """Return the line of a manifest."""
        if self.git:
            return f"git+{self.git}#egg={self.name}{extras}"
        return f"{self.name}{extras}=={self.version}"


@dataclass(frozen=True, kw_only=True)
class Service:
    """One venv: the service, and by group what can be added to it."""

    name: str
    source: Source
    role: Role | None
    groups: dict[str, list[Source]] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return the service itself and all that can be added."""
        return (self.source, *(source for group in self.groups.values() for source in group))

    @property
    def names(self) -> set[str]:
        """Return the normalised names of all its sources."""
        return {str(canonicalize_name(source.name)) for source in self.sources}


@dataclass(kw_only=True)
class Release:
    """The services of a release; ``left_out`` names by reason what became no part of a venv."""

    roles: Roles
    services: dict[str, Service] = field(default_factory=dict)
    series: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    tag: str = ""

    def add_deliverables(self, deliverables: Sequence[Deliverable]) -> None:
        """Take in what the release team lists: first services, then what is added to them."""
        for one in deliverables:
            if one.series:
                self.series.setdefault(one.series, one.where)
            if one.kind == "trailing" and one.name == "openstack-ansible" and one.projects:
                self.tag = one.projects[-1].version
            self._leave(_why_not(one), one.name)
        taken = [(one, project) for one in deliverables if not _why_not(one) for project in one.projects]
        for one, project in taken:
            if one.kind == SERVICE:
                self._add_service(_released(project), project.short)
        for one, project in taken:
            if one.kind != SERVICE:
                home = _DASHBOARDS if one.kind == DASHBOARD else (one.team, project.short)
                self._add_plugin(_released(project), *home)

    def add_pins(self, pins: Sequence[GitPin]) -> None:
        """Take in what OpenStack-Ansible pins: the source that is named like its group is the service."""
        for pin in pins:
            if pin.series:
                self.series.setdefault(pin.series, pin.where)
            if pin.key in _NO_PYTHON:
                self._leave(_NO_PACKAGE, pin.key)
            elif pin.key != REQUIREMENTS and self._is_service(pin):
                role = self.roles.called(pin.short)
                self._add_service(_pinned(pin, role.main.name if role else pin.short), pin.key)
        for pin in pins:
            if pin.key != REQUIREMENTS and pin.key not in _NO_PYTHON and not self._is_service(pin):
                home = pin.group.removesuffix("_all")
                group = _DASHBOARDS[1] if home == _DASHBOARDS[0] else pin.short
                self._add_plugin(_pinned(pin, pin.short), home, group)

    def keep(self, names: Iterable[str]) -> None:
        """Keep the services that are called ``names``, by venv or by distribution; an unknown one is a problem."""
        wanted = list(names)
        if not wanted:
            return
        known = {alias: name for name, one in self.services.items() for alias in (one.source.name, name)}
        for name in wanted:
            if name not in known:
                self.problems.append(
                    Problem(
                        where="--service", what=f"there is no service {name!r}", hint=nearest(name, self.services)
                    )
                )
        kept = {known[name] for name in wanted if name in known}
        self.services = {name: one for name, one in self.services.items() if name in kept}

    def _is_service(self, pin: GitPin) -> bool:
        return pin.key == pin.group.removesuffix("_all") or self.roles.called(pin.key) is not None

    def _add_service(self, source: Source, name: str) -> None:
        role = self.roles.service(source.name)
        name = role.name if role else name.lower().replace(".", "-")
        other = self.services.get(name)
        if other is not None:
            what = f"a second source of the venv {name}"
            self.problems.append(Problem(where=source.where, what=what, hint=f"the first is at {other.source.where}"))
        else:
            self.services[name] = Service(name=name, source=source, role=role)

    def _add_plugin(self, source: Source, home: str, group: str) -> None:
        listing = ((role, role.group_of(source.name)) for role in self.roles.services)
        role, known = next(((role, found) for role, found in listing if found), (None, ""))
        venv = self.services.get(role.name if role else home)
        if venv is None:
            self._leave("for a service that is not there", source.name)
            return
        members = venv.groups.setdefault(known or group, [])
        if all(one.name != source.name for one in members):
            members.append(source)

    def _leave(self, reason: str, name: str) -> None:
        """Note why ``name`` is left out; without a reason it is not."""
        if reason:
            self.left_out.setdefault(reason, []).append(name)


def _why_not(one: Deliverable) -> str:
    """Return why a deliverable becomes no part of a venv, or nothing."""
    if not one.projects:
        return "not released"
    if not one.packaged:
        return _NO_PACKAGE
    return "" if one.kind in (SERVICE, DASHBOARD, OTHER) else _REASONS.get(one.kind, f"of type {one.kind}")


def _released(project: Project) -> Source:
    return Source(
        name=project.name,
        version=project.version,
        origin=f"{project.repo} {project.version}, commit {project.commit[:12]}",
        where=project.where,
    )


def _pinned(pin: GitPin, name: str) -> Source:
    track = f", from {pin.track}" if pin.track else ""
    return Source(
        name=name, git=f"{pin.url}@{pin.revision}", origin=f"{pin.key} at {pin.revision[:12]}{track}", where=pin.where
    )

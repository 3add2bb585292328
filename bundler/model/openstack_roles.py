"""What OpenStack-Ansible's roles put beside a service: taken from the manifest of OpenStack that comes with us.

The first package of a venv there is the service itself; what follows, its groups, distro packages and smoke commands
serve any release.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

UWSGI, UTILITY = "uwsgi", "utility"
#: Venvs that are no service, and are made where they are asked for.
EXTRA_VENVS = (UWSGI, UTILITY)
_SOURCE = "openstack-2026.1.yaml"


@dataclass(frozen=True, kw_only=True)
class Role:
    """One venv: ``main`` is the service, ``beside`` what stands beside it, ``venv`` all fields as written."""

    name: str
    main: Requirement
    beside: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    enable: tuple[str, ...]
    venv: Mapping[str, Any]

    @property
    def extras(self) -> str:
        """Return the extras of the service as they stand in a requirement: ``[ldap]``."""
        return f"[{','.join(sorted(self.main.extras))}]" if self.main.extras else ""

    def group_of(self, name: str) -> str:
        """Return the group that lists the package ``name``, or nothing."""
        wanted = canonicalize_name(name)
        return next((key for key, lines in self.groups.items() if wanted in map(name_of, lines)), "")


@dataclass(frozen=True, kw_only=True)
class Roles:
    """All roles. ``user`` are constraints for ``version`` alone; the rest serves any release."""

    version: str
    tag: str
    user: tuple[str, ...]
    default_packages: tuple[str, ...]
    build: Mapping[str, Any]
    venvs: Mapping[str, Role]

    @property
    def services(self) -> tuple[Role, ...]:
        """Return the roles of services."""
        return tuple(role for name, role in self.venvs.items() if name not in EXTRA_VENVS)

    def service(self, name: str) -> Role | None:
        """Return the role whose service is the package ``name``."""
        wanted = canonicalize_name(name)
        return next((role for role in self.services if canonicalize_name(role.main.name) == wanted), None)

    def called(self, name: str) -> Role | None:
        """Return the service's role with this name."""
        return next((role for role in self.services if role.name == name), None)

    @functools.cached_property
    def common(self) -> tuple[str, ...]:
        """Return what three of four roles have: for a service whose role is not known here."""
        return self._common(lambda role: role.beside)

    @functools.cached_property
    def common_distro(self) -> dict[str, list[str]]:
        """Return the distro packages that three of four roles have."""
        return {part: list(self._common(_distro(part))) for part in ("build", "runtime")}

    def _common(self, lines: Callable[[Role], Iterable[str]]) -> tuple[str, ...]:
        counts = Counter(line for role in self.services for line in dict.fromkeys(lines(role)))
        return tuple(line for line, count in counts.items() if 4 * count >= 3 * len(self.services))


def name_of(line: str) -> str:
    """Return the normalised name of a requirement."""
    return str(canonicalize_name(Requirement(line).name))


def _distro(part: str) -> Callable[[Role], Sequence[str]]:
    def of(role: Role) -> Sequence[str]:
        lists = role.venv.get("distro_packages", {}).get(part, [])
        return lists if isinstance(lists, list) else [name for one in lists.values() for name in one]

    return of


@functools.cache
def known_roles() -> Roles:
    """Return the roles that come with the project."""
    text = files("bundler.model").joinpath("data").joinpath(_SOURCE).read_text("utf-8")
    document = yaml.safe_load(text)
    venvs = {name: _role(name, venv) for name, venv in document["venvs"].items()}
    path = str(document["venvs"]["keystone"]["path"])
    lines = [layer.get("lines", ()) for layer in document["constraints"]]
    return Roles(
        version=document["release"]["version"],
        tag=path.rpartition("-")[2],
        user=tuple(line for one in lines for line in one),
        default_packages=tuple(document["default_packages"]),
        build=document["build"],
        venvs=venvs,
    )


def _role(name: str, venv: Mapping[str, Any]) -> Role:
    main, *beside = venv["packages"]
    return Role(
        name=name,
        main=Requirement(main),
        beside=tuple(beside),
        groups={key: tuple(lines) for key, lines in venv.get("groups", {}).items()},
        enable=tuple(venv.get("enable", ())),
        venv=venv,
    )

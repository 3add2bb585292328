"""The manifest of a release of OpenStack, as commented YAML. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from packaging.utils import canonicalize_name, canonicalize_version

from bundler.model.constraints import Layer
from bundler.model.lock import Shadowed
from bundler.model.openstack_release import Release, Service
from bundler.model.openstack_roles import UTILITY, UWSGI, Role, name_of

#: What OpenStack-Ansible's role for utility hosts selects of the upper constraints.
_CLIENT = re.compile(r"python-.*client.*|(?:aodh|gnocchi)client|osc-placement", re.IGNORECASE)
_WIDE = 1 << 16
OWN_LAYER = "own"


@dataclass(frozen=True, kw_only=True)
class LayerSource:
    """A constraint layer: its fields in the manifest, what is known of its content, and a comment."""

    name: str
    fields: Mapping[str, Any]
    comment: str
    layer: Layer | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the manifest is made from; ``tag`` ends the install paths (empty: each service's own version).

    ``role_files`` is what OpenStack-Ansible's roles find on a repo host, where it is known.
    """

    release: Release
    name: str
    version: str
    targets: Sequence[str]
    layers: Sequence[LayerSource]
    shadowed: Sequence[Shadowed]
    tag: str = ""
    extra: Sequence[str] = ()
    origin: str = ""
    role_files: Mapping[str, Any] = field(default_factory=dict)
    clients: Sequence[str] = field(default_factory=tuple)

    @property
    def named(self) -> set[str]:
        """Return the normalised names that a layer speaks of."""
        return {entry.name for one in self.layers if one.layer is not None for entry in one.layer.entries}


def own_lines(release: Release, upper: Layer | None) -> tuple[str, ...]:
    """Return the constraints that take what is sourced here out of ``upper``, where that pins something else."""
    found = set()
    for source in (source for service in release.services.values() for source in service.sources):
        name = canonicalize_name(source.name)
        pin = canonicalize_version(source.version) if source.version else ""
        says = [entry.pin for entry in upper.entries if entry.name == name] if upper is not None else []
        if (source.git and upper is None) or any(one != pin for one in says):
            found.add(f"{name}=={source.version}" if source.version else str(name))
    return tuple(sorted(found))


def user_lines(release: Release, version: str, upper: Layer | None) -> tuple[str, ...]:
    """Return the constraints that are known to be needed above ``upper`` of this very version."""
    roles = release.roles
    if version != roles.version:
        return ()
    return tuple(line for line in roles.user if upper is None or name_of(line) in {one.name for one in upper.entries})


def clients(upper: Layer | None, text: str) -> tuple[str, ...]:
    """Return the clients in the upper constraints ``text``, as they are written there."""
    if upper is None:
        return ()
    names = (re.split(r"[=<>;\s]", line, maxsplit=1)[0] for line in text.splitlines())
    return tuple(sorted(name for name in names if _CLIENT.fullmatch(name)))


def manifest_text(wanted: Wanted) -> str:
    """Return the manifest."""
    return "\n".join(_lines(wanted)) + "\n"


def _lines(wanted: Wanted) -> Iterator[str]:
    roles = wanted.release.roles
    yield f"# OpenStack {wanted.version}: made by `bundle-build manifest from-openstack` from {wanted.origin}."
    yield "# What stands beside a service, and the distro packages (as Debian calls them), are OpenStack-Ansible's."
    yield from _dumped({"schema": 1, "release": {"name": wanted.name, "version": wanted.version}})
    yield from ("", *_dumped({"targets": list(wanted.targets)}))
    yield from ("", "# The first layer that names a package wins, per marker.", "constraints:")
    for layer in wanted.layers:
        yield from _indented([f"# {layer.comment}", *_dumped([{"name": layer.name, **layer.fields}])])
    yield from _lost(wanted.shadowed)
    yield from ("", "# What the roles install into every venv.")
    yield from _dumped({"default_packages": list(roles.default_packages)})
    if wanted.role_files:
        yield from (
            "",
            "# What its roles find on a repo host.",
            *_dumped({"openstack_ansible": dict(wanted.role_files)}),
        )
    yield from ("", *_dumped({"build": _build(wanted)}))
    yield from ("", "venvs:")
    for service in wanted.release.services.values():
        yield from _indented(_service(service, wanted))
    for name in wanted.extra:
        yield from _indented(_extra(roles.venvs[name], wanted))


def _lost(shadowed: Sequence[Shadowed]) -> Iterator[str]:
    if shadowed:
        yield "# They do not agree; what is written first here wins:"
    for one in shadowed:
        yield f"#   {one.winner} ({one.winner_where}) over {one.loser} ({one.loser_where})"


def _build(wanted: Wanted) -> dict[str, Any]:
    build = wanted.release.roles.build
    kept = [line for line in build.get("constraints", ()) if name_of(line) not in wanted.named]
    found: dict[str, Any] = {"environment": build["environment"]}
    if kept:
        found["constraints"] = kept
    if UWSGI in wanted.extra:
        found["packages"] = {UWSGI: build["packages"][UWSGI]}
    return found


def _service(service: Service, wanted: Wanted) -> Iterator[str]:
    role = service.role
    yield from ("", f"# {service.source.origin}")
    if role is None:
        yield "# Its role is not known here: beside it stands what most roles have. Look at it."
    groups, enable = _groups(service)
    venv: dict[str, Any] = {
        "path": _path(service.name, wanted, service.source.version or wanted.version, role),
        "packages": [service.source.requirement(role.extras if role else ""), *_beside(service, wanted)],
    }
    venv.update({"groups": groups} if groups else {})
    venv.update({"enable": enable} if enable else {})
    yield from _dumped({service.name: {**venv, **_rest(role, wanted)}})


def _beside(service: Service, wanted: Wanted) -> list[str]:
    role = service.role
    return list(role.beside if role else wanted.release.roles.common)


def _groups(service: Service) -> tuple[dict[str, list[str]], list[str]]:
    """Return the groups and those to build in: the role's own, without what only another release would pin."""
    role = service.role
    found: dict[str, list[str]] = {}
    for name, lines in (role.groups if role else {}).items():
        free = [line for line in lines if "==" not in line and name_of(line) not in service.names]
        found[name] = free
    for name, sources in service.groups.items():
        found.setdefault(name, []).extend(source.requirement() for source in sources)
    groups = {name: lines for name, lines in found.items() if lines}
    return groups, [name for name in (role.enable if role else ()) if name in groups]


def _rest(role: Role | None, wanted: Wanted) -> dict[str, Any]:
    if role is None:
        return {"distro_packages": wanted.release.roles.common_distro}
    return {
        key: role.venv[key] for key in ("system_packages", "distro_packages", "smoke", "allow") if key in role.venv
    }


def _extra(role: Role, wanted: Wanted) -> Iterator[str]:
    packages = _utility(role, wanted) if role.name == UTILITY else [_unpinned(str(role.venv["packages"][0]), wanted)]
    comment = "All clients that the upper constraints know." if role.name == UTILITY else "The server of the APIs."
    yield from ("", f"# {comment}")
    path = _path(role.name, wanted, wanted.version, role)
    yield from _dumped({role.name: {"path": path, "packages": packages, **_rest(role, wanted)}})


def _utility(role: Role, wanted: Wanted) -> list[str]:
    """Return the clients of the release, else those of the role, and what the role puts beside them."""
    own = [str(line) for line in role.venv["packages"]]
    return [*wanted.clients, *(line for line in own if not _CLIENT.fullmatch(line))] if wanted.clients else own


def _unpinned(line: str, wanted: Wanted) -> str:
    name = name_of(line)
    return re.split(r"[=<>]", line, maxsplit=1)[0] if name in wanted.named else line


def _path(name: str, wanted: Wanted, version: str, role: Role | None) -> str:
    tag = wanted.tag or version
    if role is None:
        return f"/openstack/venvs/{name}-{tag}"
    return str(role.venv["path"]).replace(f"-{wanted.release.roles.tag}", f"-{tag}")


def _dumped(value: Any) -> list[str]:
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDE)
    return text.rstrip("\n").split("\n")


def _indented(lines: Iterable[str]) -> Iterator[str]:
    yield from (f"  {line}" if line else "" for line in lines)


class _Dumper(yaml.SafeDumper):
    """Writes what is used twice twice, and lists below their key."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Write no anchors."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT002
        """Indent lists too."""
        super().increase_indent(flow, indentless=False)

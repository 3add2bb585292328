"""What OpenStack-Ansible's roles find on a repo host: four files for each venv, upper constraints; what to tell it.

See :mod:`bundler.model.openstack_ansible` for the files. Which lines they have is decided here, by manifest and lock.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bundler.errors import ManifestError, Problem, RequirementError
from bundler.model.contents import FileEntry, LinkEntry, RoleEntry, RoleVenv
from bundler.model.lock import Artifact, GitSource, Lock, LockedPackage
from bundler.model.manifest import UPPER, Manifest
from bundler.model.manifest_load import LoadedManifest
from bundler.model.openstack_ansible import (
    CACHED,
    constraint_lines,
    must_be_named,
    named_item,
    pins_lines,
    requirements_lines,
    upper_name,
    venv_files,
)
from bundler.model.plan import VenvPlan
from bundler.model.requirement import parse_requirement
from bundler.model.wheel import WheelSet
from bundler.store.cas import Store
from bundler.workflows.release_files import single

_COMMIT = re.compile(r"@([0-9a-f]{40,64}):")
_SHORT = 12


@dataclass(frozen=True, kw_only=True)
class RolePlan:
    """All that the roles find, but for the constraints that follow from wheels.

    ``lists``: the lines of a venv's files by venv and target, then by the last part of the file's name. ``upper`` is
    the path and the bytes of upper constraints; without any both are empty.
    """

    branch: str
    plans: Mapping[tuple[str, str], VenvPlan]
    lists: Mapping[tuple[str, str], Mapping[str, Sequence[str]]]
    upper: tuple[str, bytes]
    entry: RoleEntry


def release_root(manifest: Manifest, lock: Lock) -> str:
    """Return the release's directory below the root of a repo host."""
    return f"os-releases/{manifest.openstack_ansible.release or lock.version}"


def plan_role_files(loaded: LoadedManifest, lock: Lock, plans: Iterable[VenvPlan]) -> RolePlan:
    """Work out what the roles find.

    Raises:
        ManifestError: Requirements from git that nothing names; all of them are listed.
    """
    section = loaded.manifest.openstack_ansible
    known = {(plan.name, plan.target.name): plan for plan in plans}
    naming = _Naming(lock=lock)
    pins = _pins(loaded)
    lists: dict[tuple[str, str], dict[str, Sequence[str]]] = {}
    for key, plan in known.items():
        own = loaded.manifest.venvs[plan.name].openstack_ansible
        asked = plan.own if own.requirements is None else own.requirements
        source = section.source_constraints if own.source_constraints is None else own.source_constraints
        lists[key] = {
            "requirements": requirements_lines(naming.items(key, asked)),
            "global-constraints": pins,
            "source-constraints": source,
        }
    naming.refuse()
    identifier, text = _upper(loaded, lock)
    entry = RoleEntry(
        branch=section.branch,
        release=section.release or lock.version,
        upper=identifier,
        venvs=tuple(_venvs(known, lists, naming.named)),
    )
    upper = (upper_name(identifier), text) if text else ("", b"")
    return RolePlan(branch=section.branch, plans=known, lists=lists, upper=upper, entry=entry)


def role_entries(
    plan: RolePlan, sets: Iterable[WheelSet], lock: Lock, root: str, store: Store
) -> tuple[list[FileEntry], list[LinkEntry]]:
    """Return the files and links of the roles; their texts are put into the store here."""
    files: list[FileEntry] = []
    for one in sets:
        key = (one.venv, one.target)
        lists = {**plan.lists[key], "constraints": constraint_lines(_filenames(one, lock))}
        for name, data in venv_files(plan.plans[key].basename, plan.branch, lists).items():
            files.append(single(f"{root}/{one.target}/requirements/{name}", store.put(data), (one.target,)))
    path, text = plan.upper
    if not path:
        return files, []
    every = tuple(sorted({target for _, target in plan.plans}))
    files.append(single(path, store.put(text), every))
    return files, [LinkEntry(path=CACHED, to=posixpath.basename(path), targets=every)]


def _filenames(wheels: WheelSet, lock: Lock) -> Iterator[str]:
    """Yield the names of the wheels of a whole venv, also of those that are not carried."""
    carried = {wheel.name: wheel.filename for wheel in wheels.wheels}
    for package in lock.venv(wheels.venv, wheels.target).packages:
        origin = package.origin
        name = carried.get(package.name) or (origin.name if isinstance(origin, Artifact) else "")
        yield name if name.endswith(".whl") else f"{package.name.replace('-', '_')}-{package.version}-py3"


def _pins(loaded: LoadedManifest) -> list[str]:
    given = loaded.manifest.openstack_ansible.global_constraints
    return pins_lines((loaded.root / given).read_bytes().decode()) if isinstance(given, str) else list(given)


def _upper(loaded: LoadedManifest, lock: Lock) -> tuple[str, bytes]:
    """Return what the roles know upper constraints by, and the constraints; nothing where there are none."""
    given = loaded.manifest.openstack_ansible.upper_constraints
    text = (loaded.root / given.file).read_bytes() if given.file else lock.upper.encode()
    if not text:
        return "", b""
    places = () if given.file else (layer.location for layer in lock.layers if layer.name == UPPER)
    commits = (found[1] for place in places if (found := _COMMIT.search(place)))
    return given.id or next(commits, hashlib.sha256(text).hexdigest()[:_SHORT]), text


def _venvs(
    plans: Mapping[tuple[str, str], VenvPlan],
    lists: Mapping[tuple[str, str], Mapping[str, Sequence[str]]],
    named: Mapping[str, Sequence[str]],
) -> Iterator[RoleVenv]:
    for name in dict.fromkeys(venv for venv, _ in plans):
        mine = [key for key in plans if key[0] == name]
        items = requirements_lines(item for key in mine for item in lists[key]["requirements"])
        yield RoleVenv(
            name=name,
            basename=plans[mine[0]].basename,
            requirements=tuple(items),
            named=tuple(dict.fromkeys(named.get(name, ()))),
        )


@dataclass(kw_only=True)
class _Naming:
    """Puts requirements into a form that the role can use; ``named`` are those that had another one, by venv."""

    lock: Lock
    named: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def items(self, key: tuple[str, str], asked: Iterable[str]) -> list[str]:
        """Return the requirements of a venv on a target."""
        packages = self.lock.venv(*key).packages
        return [found for item in asked if (found := self._item(key[0], item, packages))]

    def refuse(self) -> None:
        """Raise the one error that names all that have no name."""
        if self.problems:
            problems = tuple(dict.fromkeys(self.problems))
            raise ManifestError(f"openstack_ansible: {problems[0]}", hint=problems[0].hint, problems=problems)

    def _item(self, venv: str, item: str, packages: Sequence[LockedPackage]) -> str:
        local = _local(item)
        if local or not must_be_named(item):
            return local or item
        name = _name_of(item, packages)
        if not name:
            where = f"venvs.{venv}.openstack_ansible.requirements"
            what = f"{item} has no name, and the venv has no such source"
            self.problems.append(Problem(where=where, what=what, hint="end it with #egg=<name>"))
            return ""
        found = named_item(item, name)
        self.named.setdefault(venv, []).append(found)
        return found


def _local(item: str) -> str:
    """Return the name alone of what is a directory beside the manifest: hosts get its wheel."""
    try:
        asked = parse_requirement(item)
    except RequirementError:
        return ""
    return "" if asked.path is None else _with_extras(asked.name, asked.extras)


def _name_of(item: str, packages: Iterable[LockedPackage]) -> str:
    try:
        asked = parse_requirement(item)
    except RequirementError:
        address, _, revision = item[item.index("git+") + 4 :].partition("#")[0].rpartition("@")
        return next((one.name for one in packages if _is_from(one, address, revision)), "")
    return _with_extras(asked.name, asked.extras)


def _with_extras(name: str, extras: Sequence[str]) -> str:
    return f"{name}[{','.join(extras)}]" if extras else name


def _is_from(package: LockedPackage, address: str, revision: str) -> bool:
    origin = package.origin
    if not isinstance(origin, GitSource) or origin.url.removesuffix(".git") != address.removesuffix(".git"):
        return False
    return origin.requested_revision == revision or origin.commit.startswith(revision or "-")

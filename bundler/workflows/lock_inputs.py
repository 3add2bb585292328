"""What a lock was made from, as one digest, and what of it changed.

Addresses and revisions of remote constraint layers are part of the manifest; what was there when the lock was made is
recorded in the lock and read again only when resolving: a lock stays good without a network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import FetchFailed, LockOutdated, Problem
from bundler.files import sha256_of
from bundler.model.lock import DirectorySource, LayerRecord, Lock
from bundler.model.manifest_digest import content_digest, resolution_digest
from bundler.model.manifest_load import LoadedManifest
from bundler.model.plan import VenvPlan, plan_seeds
from bundler.model.requirement import parse_requirement
from bundler.model.target import Target
from bundler.sources.constraint_files import layer_groups
from bundler.sources.directory import digest_directory
from bundler.sources.folders import wheels_in
from bundler.store.cas import Store, key_of
from bundler.version import own_version

#: The commit in the location of a layer from git.
_COMMIT = re.compile(r"@[0-9a-f]{40,64}:")
#: Rises when the same inputs would give another lock.
LOCK_VERSION = 3


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything local that goes into a lock. ``directories`` maps absolute paths of source trees to digests.

    ``manifest`` is the digest of what decides the resolution, ``content`` of all that a bundle shows of the manifest.
    """

    manifest: str
    content: str
    resolver: str
    targets: tuple[Target, ...]
    layers: Mapping[str, str]
    directories: Mapping[str, str]
    folders: tuple[str, ...]
    files: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Return the digest over all inputs."""
        targets = [
            (target.name, target.python.full_version, target.python.executable, target.glibc)
            for target in self.targets
        ]
        directories = sorted(self.directories.values())
        layers, local = dict(self.layers), (directories, self.folders, self.files)
        return key_of(LOCK_VERSION, self.manifest, self.resolver, targets, layers, local)


def read_inputs(loaded: LoadedManifest, plans: Sequence[VenvPlan], resolver: str, store: Store) -> Inputs:
    """Return the inputs of the manifest as they are now.

    Raises:
        FetchFailed: A wheel folder, a source tree or a local file cannot be read.
    """
    folders = wheels_in((loaded.root / folder for folder in loaded.manifest.wheel_folders), store)
    sources = _local_sources(loaded, plans)
    shown = {path: sha256_of(loaded.root / path) for path in role_documents(loaded)}
    content = content_digest(loaded.manifest)
    return Inputs(
        manifest=resolution_digest(loaded.manifest),
        content=key_of(content, shown) if shown else content,
        resolver=resolver,
        targets=targets_of(plans),
        layers=dict(_local_layers(loaded)),
        directories={str(path): digest_directory(path) for path in sources if path.is_dir()},
        folders=tuple(f"{wheel.name} {wheel.sha256}" for wheels in folders.values() for wheel in wheels),
        files=tuple(sorted(f"{path.name} {sha256_of(path)}" for path in sources if path.is_file())),
    )


def targets_of(plans: Iterable[VenvPlan]) -> tuple[Target, ...]:
    """Return the targets of the plans, in order, each once."""
    return tuple({plan.target.name: plan.target for plan in plans}.values())


def role_documents(loaded: LoadedManifest) -> tuple[str, ...]:
    """Return the files that the manifest names for OpenStack-Ansible alone, relative to it.

    Raises:
        FetchFailed: Some of them are not there.
    """
    section = loaded.manifest.openstack_ansible
    pins = section.global_constraints
    named = {
        "global_constraints": pins if isinstance(pins, str) else "",
        "upper_constraints": section.upper_constraints.file,
    }
    missing = [
        Problem(where=f"openstack_ansible.{where}", what=f"there is no file {path}")
        for where, path in named.items()
        if path and not (loaded.root / path).is_file()
    ]
    if missing:
        raise FetchFailed(
            "files of the manifest are missing", hint="paths are relative to the manifest", problems=missing
        )
    return tuple(path for path in named.values() if path)


def _local_layers(loaded: LoadedManifest) -> Iterator[tuple[str, str]]:
    """Yield local constraint files with the digests of their content; a missing one has none."""
    layers = [layer for group in layer_groups(loaded.manifest) for layer in group.layers]
    if loaded.manifest.seed_packages:
        layers += loaded.manifest.constraints
    for layer in layers:
        path = None if layer.file is None else loaded.root / layer.file
        if path is not None and layer.file is not None:
            yield layer.file, sha256_of(path) if path.is_file() else ""


def _local_sources(loaded: LoadedManifest, plans: Iterable[VenvPlan]) -> list[Path]:
    """Return the source trees and files that requirements and build requirements name."""
    asked = [(plan.name, one) for plan in plans for one in (*plan.requirements, *plan.build_requirements)]
    asked += [
        ("seed_packages", one) for seed in plan_seeds(loaded.manifest, targets_of(plans)) for one in seed.requirements
    ]
    asked += [
        (f"build.packages.{name}", parse_requirement(line))
        for name, settings in loaded.manifest.build.packages.items()
        for line in settings.requires
    ]
    paths = {(where, loaded.root / one.path) for where, one in asked if one.path is not None}
    missing = [Problem(where=where, what=f"there is no {path}") for where, path in sorted(paths) if not path.exists()]
    if missing:
        hint = "paths are relative to the manifest"
        raise FetchFailed("local sources are missing", hint=hint, problems=missing)
    return sorted({path.resolve() for path in (*(path for _, path in paths), *_signers(loaded))})


def _signers(loaded: LoadedManifest) -> list[Path]:
    """Return the files that say who must have signed a constraint layer: with others the lock is made anew."""
    layers = (layer for group in layer_groups(loaded.manifest) for layer in group.layers)
    return sorted({loaded.root / layer.signers for layer in layers if layer.signers is not None})


def refuse_outdated(inputs: Inputs, plans: Sequence[VenvPlan], lock: Lock | None, where: Path) -> None:
    """Raise the error that says why ``lock`` may not be used.

    Raises:
        LockOutdated: Always.
    """
    hint = "run bundle-build lock without --locked, look at what changed, and commit the lock"
    if lock is None:
        raise LockOutdated(f"there is no lock at {where}", hint=hint)
    problems = [*_changes(inputs, lock), *_venv_changes(plans, lock)]
    if not problems:
        problems = [Problem(where="manifest", what="what it says changed, or a file that it names")]
    raise LockOutdated(f"the lock at {where} does not fit its inputs", hint=hint, problems=problems)


def _changes(inputs: Inputs, lock: Lock) -> Iterator[Problem]:
    if lock.tool != own_version():
        yield Problem(
            where="bundle-build", what=f"made the lock as {lock.tool or 'an older version'}, is {own_version()}"
        )
    if inputs.resolver != lock.resolver.split()[0]:
        yield Problem(where="resolver", what=f"was {lock.resolver}, is {inputs.resolver}")
    now = [target.name for target in inputs.targets]
    yield from _names("targets", lock.targets, now)
    recorded = {layer.location: layer.sha256 for layer in lock.layers}
    for location, digest in inputs.layers.items():
        if recorded.get(location) != digest:
            yield Problem(where=f"constraint layer {location}", what="its content changed")
    trees = {
        package.name: package.origin.sha256
        for venv in lock.venvs
        for package in venv.packages
        if isinstance(package.origin, DirectorySource)
    }
    for name, digest in trees.items():
        if digest not in inputs.directories.values():
            yield Problem(where=name, what="its source tree changed")


def _venv_changes(plans: Sequence[VenvPlan], lock: Lock) -> Iterator[Problem]:
    before = {(venv.venv, venv.target): [one.name for one in venv.packages if one.requested] for venv in lock.venvs}
    yield from _names("venvs", sorted({venv for venv, _ in before}), sorted({plan.name for plan in plans}))
    for plan in plans:
        key = (plan.name, plan.target.name)
        if key in before:
            names = sorted({one.name for one in plan.requirements})
            yield from _names(f"venvs.{plan.name}.packages on {plan.target.name}", before[key], names)


def _names(where: str, old: Sequence[str], new: Sequence[str]) -> Iterator[Problem]:
    for name in new:
        if name not in old:
            yield Problem(where=where, what=f"{name} is new")
    for name in old:
        if name not in new:
            yield Problem(where=where, what=f"{name} is gone")


def remote_changes(old: Sequence[LayerRecord], new: Sequence[LayerRecord]) -> tuple[str, ...]:
    """Return the addresses and repositories whose content changed between two locks."""
    before = {_place(layer): layer.sha256 for layer in old}
    changed = (layer.location for layer in new if before.get(_place(layer), layer.sha256) != layer.sha256)
    return tuple(dict.fromkeys(location for location in changed if "://" in location))


def _place(layer: LayerRecord) -> tuple[str, str]:
    """Return what stays the same of a layer when its content changes: no commit."""
    return layer.name, _COMMIT.sub(":", layer.location)

"""Reading manifests: check them, and say what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bundler.errors import ManifestError, Problem
from bundler.events import Emit, Warned
from bundler.model.manifest import Manifest
from bundler.model.manifest_explain import explain
from bundler.model.manifest_load import LoadedManifest, load_manifest
from bundler.model.manifest_tree import MAX_BYTES
from bundler.model.plan import plan_venvs
from bundler.model.target import Target, known_target

HostTarget = Callable[[], Target]


def read_document(path: Path) -> bytes:
    """Return the content of a document, at most one byte more than is accepted of one."""
    if path.exists() and not path.is_file():
        raise OSError(0, "not a regular file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def check_text(text: str, place: Path) -> None:
    """Load what is about to be written at ``place`` as `manifest check` would.

    Raises:
        ManifestError: Something is wrong in it.
    """
    load_manifest(place, lambda path: text.encode() if path == place else read_document(path))


def open_manifest(path: Path, emit: Emit) -> LoadedManifest:
    """Return the manifest at ``path``; deprecated names in it become warnings.

    Raises:
        ManifestError: Something is wrong in it; ``problems`` lists all of it.
    """
    loaded = load_manifest(path, read_document)
    for warning in loaded.warnings:
        emit(Warned(message=warning))
    return loaded


def check_manifests(paths: Sequence[Path], emit: Emit) -> tuple[LoadedManifest, ...]:
    """Return the manifests at ``paths``.

    Raises:
        ManifestError: At least one has problems; those of all of them are listed.
    """
    found: list[LoadedManifest] = []
    errors: list[ManifestError] = []
    for path in paths:
        loaded = _attempt(path, emit, errors)
        if loaded is not None:
            found.append(loaded)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        problems: list[Problem] = [problem for error in errors for problem in error.problems]
        raise ManifestError("; ".join(error.message for error in errors), hint=errors[0].hint, problems=problems)
    return tuple(found)


def _attempt(path: Path, emit: Emit, errors: list[ManifestError]) -> LoadedManifest | None:
    try:
        return open_manifest(path, emit)
    except ManifestError as error:
        errors.append(error)
        return None


def resolve_targets(manifest: Manifest, host: HostTarget) -> tuple[Target, ...]:
    """Return the targets of the manifest in order; ``auto`` is what ``host`` returns."""
    found = (host() if name == "auto" else known_target(name) for name in manifest.targets)
    return tuple({target.name: target for target in found}.values())


def explain_manifest(path: Path, names: Sequence[str], host: HostTarget, emit: Emit) -> dict[str, Any]:
    """Return what the manifest at ``path`` means, on the targets ``names`` or else on its own.

    Raises:
        ManifestError: The manifest or a target's name is wrong.
    """
    loaded = open_manifest(path, emit)
    wanted = loaded.manifest.model_copy(update={"targets": tuple(names)}) if names else loaded.manifest
    return explain(loaded, plan_venvs(wanted, resolve_targets(wanted, host)))

"""The manifest as it is understood, as plain data: for people and for JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bundler.model.manifest import AllowedFailure, Build, ConstraintLayer
from bundler.model.manifest_load import LoadedManifest
from bundler.model.plan import VenvPlan


def explain(loaded: LoadedManifest, plans: Sequence[VenvPlan]) -> dict[str, Any]:
    """Return what ``loaded`` means: the release, its sources, and the plan of each venv on each target."""
    manifest = loaded.manifest
    return {
        "release": manifest.release.model_dump(mode="json"),
        "digest": loaded.digest,
        "files": [str(path) for path in loaded.files],
        "resolver": manifest.resolver,
        "closure": manifest.closure,
        "indexes": [index.model_dump(mode="json") for index in manifest.indexes],
        "wheel_folders": list(manifest.wheel_folders),
        "proof": manifest.proof.level,
        "build": _build(manifest.build),
        "seed_packages": list(manifest.seed_packages),
        "openstack_ansible": manifest.openstack_ansible.model_dump(mode="json"),
        "venvs": [_plan(plan) for plan in plans],
    }


def _plan(plan: VenvPlan) -> dict[str, Any]:
    return {
        "venv": plan.name,
        "target": plan.target.name,
        "python": plan.target.python.full_version,
        "path": plan.path,
        "requirements": [one.to_pep508() for one in plan.requirements],
        "build_requirements": [one.to_pep508() for one in plan.build_requirements],
        "layers": [{"name": layer.name, "from": origin(layer)} for layer in plan.layers],
        "system_packages": list(plan.system_packages),
        "build_packages": list(plan.build_packages),
        "runtime_packages": list(plan.runtime_packages),
        "smoke": [smoke.model_dump(mode="json") for smoke in plan.smoke],
        "allow": [_allowed(one) for one in plan.allow],
        "own": list(plan.own),
    }


def _build(build: Build) -> dict[str, Any]:
    packages = {name: one.model_dump(mode="json", exclude_defaults=True) for name, one in build.packages.items()}
    return {"environment": build.environment, "constraints": list(build.constraints), "packages": packages}


def _allowed(one: AllowedFailure) -> dict[str, str]:
    return {"entry_point": one.entry_point, "package": one.package, "reason": one.reason}


def origin(layer: ConstraintLayer) -> str:
    """Return where the constraints of ``layer`` come from, in words."""
    if layer.git is not None:
        return f"{layer.git.path} at {layer.git.revision} of {layer.git.url}"
    if layer.lines is not None:
        return "1 line here" if len(layer.lines) == 1 else f"{len(layer.lines)} lines here"
    return layer.file or layer.url or ""

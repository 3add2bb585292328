"""Digests of what a manifest says: layout, comments and how it is split into files do not count. Pure.

A lock is resolved anew where :func:`resolution_digest` changes, and takes a new sequence where
:func:`content_digest` does: two bundles of one sequence must hold the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bundler.model.manifest import Manifest

#: What leaves no trace in a bundle; a sequence in the manifest is compared as such.
_NOWHERE: Mapping[str, Any] = {
    "include": True,
    "anchors": True,
    "release": {"sequence"},
    "build": {"packages": {"__all__": {"memory", "cpus"}}},
}
_DISTRO = {"system_packages", "distro_packages"}
#: What decides nothing about versions, files and builds.
_AFTERWARDS: Mapping[str, Any] = {
    **_NOWHERE,
    "release": True,
    "resolver": True,
    "closure": True,
    "proof": True,
    "systems": True,
    "openstack_ansible": True,
    "venvs": {
        "__all__": {
            "path": True,
            "smoke": True,
            "allow": True,
            "openstack_ansible": True,
            **dict.fromkeys(_DISTRO, True),
        }
    },
}
_OVERRIDES = "targets"


def content_digest(manifest: Manifest) -> str:
    """Return the digest of everything in the manifest that a bundle shows."""
    return _digest(_dump(manifest, _NOWHERE))


def resolution_digest(manifest: Manifest) -> str:
    """Return the digest of everything in the manifest that decides what is locked."""
    data = _dump(manifest, _AFTERWARDS)
    for venv in data["venvs"].values():
        overrides = venv.pop(_OVERRIDES, {})
        kept = {name: {key: one[key] for key in one if key not in _DISTRO} for name, one in overrides.items()}
        # An empty one still keeps a more general one from applying.
        if any(kept.values()):
            venv[_OVERRIDES] = kept
    return _digest(data)


def _dump(manifest: Manifest, without: Mapping[str, Any]) -> dict[str, Any]:
    return manifest.model_dump(mode="json", exclude=dict(without), exclude_defaults=True)


def _digest(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

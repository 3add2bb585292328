"""The systems of a release: what its manifest says of them, and what its venvs need in them."""

from __future__ import annotations

from collections.abc import Sequence

from bundler.buildenv.host_target import host_target
from bundler.buildenv.systems import Systems, SystemsRequest
from bundler.events import Emit, ignore
from bundler.model.manifest_load import LoadedManifest
from bundler.model.plan import VenvPlan
from bundler.store.cas import Store


def systems_of(
    loaded: LoadedManifest, plans: Sequence[VenvPlan], store: Store, emit: Emit = ignore, *, refresh: bool = False
) -> Systems:
    """Return where the release is built and proved; nothing is made yet."""
    manifest = loaded.manifest
    packages: dict[str, dict[str, None]] = {}
    for plan in plans:
        packages.setdefault(plan.target.name, {}).update(dict.fromkeys(plan.build_packages))
    request = SystemsRequest(
        host=host_target(),
        environment=manifest.build.environment,
        systems=manifest.systems,
        build_packages={name: tuple(sorted(names)) for name, names in packages.items()},
        strict=manifest.proof.level == "target",
    )
    return Systems(request, store, emit, refresh=refresh)

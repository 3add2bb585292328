"""The one place that chooses build environments: a driver by name, from the entry points ``bundler.buildenvs``."""

from __future__ import annotations

from typing import Any

from stevedore import ExtensionManager

from bundler.buildenv.port import BuildEnvironment, EnvironmentSpec
from bundler.errors import UsageError

NAMESPACE = "bundler.buildenvs"


def open_environment(spec: EnvironmentSpec) -> BuildEnvironment:
    """Return the environment that ``spec`` says, in any process.

    Raises:
        UsageError: There is no such driver; the hint names those that are there.
    """
    manager: ExtensionManager[Any] = ExtensionManager(namespace=NAMESPACE, invoke_on_load=False)
    if spec.driver not in manager.names():
        known = ", ".join(sorted(set(manager.names())))
        raise UsageError(f"there is no build environment {spec.driver!r}", hint=f"known: {known}")
    opened: BuildEnvironment = manager[spec.driver].plugin.open(spec)
    return opened

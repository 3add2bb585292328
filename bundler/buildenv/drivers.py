"""The one place that chooses build environments: a driver by name, from the entry points ``bundler.buildenvs``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stevedore import ExtensionManager

from bundler.buildenv.port import BuildEnvironment, EnvironmentSpec
from bundler.errors import UsageError
from bundler.model.target import Target

NAMESPACE = "bundler.buildenvs"


def choose_environments(name: str, targets: Iterable[Target], scratch: Path) -> dict[str, BuildEnvironment]:
    """Return the environments of the driver called ``name``, by target name, the driver's own target first.

    A target that differs from it in its Python only is served where that interpreter is installed. Other targets are
    left out; throw-away state lies below ``scratch``.

    Raises:
        UsageError: There is no such driver; the hint names those that are there.
    """
    manager: ExtensionManager[Any] = ExtensionManager(namespace=NAMESPACE, invoke_on_load=False)
    names = sorted(set(manager.names()))
    if name not in names:
        raise UsageError(f"there is no build environment {name!r}", hint=f"known: {', '.join(names)}")
    driver = manager[name].plugin
    own: BuildEnvironment = driver(scratch)
    found = {own.target.name: own}
    for target in targets:
        if _same_system(target, own.target) and Path(target.python.executable).exists():
            found.setdefault(target.name, driver(scratch, target=target))
    return found


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


def _same_system(one: Target, other: Target) -> bool:
    return (one.distro, one.version, one.arch) == (other.distro, other.version, other.arch)

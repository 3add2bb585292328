"""The one place that chooses build environments: a driver by name, from the entry points ``bundler.buildenvs``."""

from __future__ import annotations

from bundler.buildenv.port import BuildEnvironment, EnvironmentSpec
from bundler.entry_points import find_driver

NAMESPACE = "bundler.buildenvs"


def open_environment(spec: EnvironmentSpec) -> BuildEnvironment:
    """Return the environment that ``spec`` says, in any process.

    Raises:
        UsageError: There is no such driver; the hint names those that are there.
        BuildEnvironmentError: It cannot be opened.
    """
    opened: BuildEnvironment = find_driver(NAMESPACE, "build environment", spec.driver).open(spec)
    return opened

"""The one place that chooses an executor: a driver by name, from the entry points ``bundler.executors``."""

from __future__ import annotations

from typing import Any

from stevedore import ExtensionManager

from bundler.errors import UsageError
from bundler.wheels.executor import Executor

NAMESPACE = "bundler.executors"


def choose_executor(name: str, slots: int) -> Executor:
    """Return a new executor of the driver called ``name`` for ``slots`` jobs at once; the caller closes it.

    Raises:
        UsageError: There is no such driver; the hint names those that are there.
    """
    manager: ExtensionManager[Any] = ExtensionManager(namespace=NAMESPACE, invoke_on_load=False)
    names = sorted(set(manager.names()))
    if name not in names:
        raise UsageError(f"there is no executor {name!r}", hint=f"known: {', '.join(names)}")
    made: Executor = manager[name].plugin(slots)
    return made

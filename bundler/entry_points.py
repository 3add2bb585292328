"""Drivers by name, from the entry points of a namespace: other packages may bring further ones."""

from __future__ import annotations

from typing import Any

from stevedore import ExtensionManager

from bundler.errors import UsageError


def find_driver(namespace: str, what: str, name: str) -> Any:
    """Return what the entry point ``name`` of ``namespace`` leads to; ``what`` is how messages call its kind.

    Raises:
        UsageError: There is no such driver; the hint names those that are there.
    """
    manager: ExtensionManager[Any] = ExtensionManager(namespace=namespace, invoke_on_load=False)
    names = sorted(set(manager.names()))
    if name not in names:
        raise UsageError(f"there is no {what} {name!r}", hint=f"known: {', '.join(names)}")
    return manager[name].plugin

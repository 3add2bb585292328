"""The one place that chooses a resolver: by name, from the entry points ``bundler.resolvers``."""

from __future__ import annotations

from bundler.entry_points import find_driver
from bundler.errors import UsageError
from bundler.resolve.port import Resolver

NAMESPACE = "bundler.resolvers"


def choose_resolver(name: str) -> Resolver:
    """Return a new resolver of the driver called ``name``.

    Raises:
        UsageError: There is no such driver; the hint names those that are there.
    """
    resolver = find_driver(NAMESPACE, "resolver", name)()
    if not isinstance(resolver, Resolver):
        raise UsageError(f"the resolver {name!r} is not what its entry point promises", hint="update its package")
    return resolver

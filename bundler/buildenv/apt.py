"""This host's own apt configuration: which archives it knows, and how it reaches them."""

from __future__ import annotations

from collections.abc import Iterator

from bundler.buildenv.recipe import Archive
from bundler.errors import CommandFailed, ToolMissing
from bundler.process import Command, run

_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
_FORMAT = "$(REPO_URI)\t$(ORIGIN)\t$(CODENAME)\t$(SUITE)\t$(COMPONENT)\t$(SIGNED_BY)"
#: Settings that say how to reach a mirror.
_REACHING = ("Acquire::http::", "Acquire::https::", "Acquire::Retries", "Acquire::ForceIPv")


def known_archives() -> tuple[Archive, ...]:
    """Return the archives whose lists this host has; none where there is no apt."""
    return tuple(dict.fromkeys(_archives(_ask("apt-get", "indextargets", "--format", _FORMAT))))


def reaching_options() -> tuple[str, ...]:
    """Return the settings that say how mirrors are reached, proxies for instance, as apt.conf has them."""
    lines = _ask("apt-config", "dump").splitlines()
    return tuple(line for line in lines if line.startswith(_REACHING) and not line.endswith(' "";'))


def _archives(listing: str) -> Iterator[Archive]:
    for line in listing.splitlines():
        fields = line.split("\t")
        if len(fields) == _FORMAT.count("\t") + 1:
            uri, origin, codename, _, component, signed_by = fields
            # What this apt does not know stays as it was written.
            signed_by = "" if signed_by.startswith("$(") else signed_by
            yield Archive(uri=uri, origin=origin, suite=codename, component=component, signed_by=signed_by)


def _ask(*argv: str) -> str:
    try:
        return run(Command(argv=argv, env=_ENVIRONMENT), timeout=60).text
    except (CommandFailed, ToolMissing):
        return ""

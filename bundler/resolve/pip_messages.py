"""What pip's explanation of a conflict says, as who wants what. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.utils import canonicalize_name

from bundler.errors import Problem
from bundler.resolve.port import CONSTRAINT, REQUESTED
from bundler.resolve.uv_project import without_credentials

CONFLICT = "conflicting dependencies"
_ASKED = re.compile(r"^\s+The user requested (?P<constraint>\(constraint\) )?(?P<wanted>\S.*)$")
_WANTS = re.compile(r"^\s+(?P<name>\S+) (?P<version>\S+) depends on (?P<wanted>\S.*)$")
_NONE = re.compile(r"No matching distribution found for (?P<wanted>.+)$")
_YANKED = re.compile(
    r"yanked version: '(?P<name>[^']+)' candidate [^\n]*\n(?:.*\n)?\s*Reason for being yanked: (?P<reason>[^\n]+)"
)
_CUT = re.compile(
    r"WARNING: Retrying|connection error|Could not fetch URL|HTTP error 5\d\d|CERTIFICATE_VERIFY_FAILED"
)
_REFUSED = re.compile(
    r"WARNING: (?P<status>\d+ Error), Credentials not correct for (?P<url>\S+?)/[^/\s]+/?$", re.MULTILINE
)


def yanked_reasons(text: str) -> dict[str, str]:
    """Return the reasons of withdrawn versions that pip warns of, by package."""
    return {
        str(canonicalize_name(match["name"])): match["reason"].strip()
        for match in _YANKED.finditer(text)
        if match["reason"].strip() != "<none given>"
    }


def is_cut(text: str) -> bool:
    """Return whether pip had trouble with the network, so that it does not know all versions."""
    return _CUT.search(text) is not None


def refusals(text: str) -> tuple[tuple[str, str], ...]:
    """Return the indexes that did not take the credentials, by their addresses, and what they said."""
    found = ((without_credentials(match["url"]), match["status"]) for match in _REFUSED.finditer(text))
    return tuple(dict.fromkeys(found))


def read_conflict(lines: Iterable[str]) -> tuple[Problem, ...]:
    """Return the requirements in pip's explanation: ``where`` wants ``what``."""
    found = (_edge(line) for line in lines)
    return tuple(dict.fromkeys(edge for edge in found if edge is not None))


def _edge(line: str) -> Problem | None:
    asked = _ASKED.match(line)
    if asked:
        return Problem(
            where=CONSTRAINT if asked["constraint"] else REQUESTED, what=asked["wanted"].strip().replace(" and ", ",")
        )
    wants = _WANTS.match(line)
    if wants:
        where = f"{canonicalize_name(wants['name'])}=={wants['version']}"
        return Problem(where=where, what=wants["wanted"].strip().replace(" and ", ","))
    none = _NONE.search(line)
    return Problem(where="", what=f"there is no version {none['wanted'].strip()}") if none else None

"""What OpenStack-Ansible's python_venv_build role writes on a repo host, byte for byte. Pure.

For a venv whose install path ends in ``nova-33.0.1`` the role reads and writes four files, ``nova-33.0.1-*.txt``, in
``requirements/`` of a release and target. If one of them has other bytes than it would write, it builds wheels anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

HEADER = "# Managed with python_venv_build role"
#: Branches whose role begins every file with the header.
_WITH_HEADER = frozenset(("2026.1", "master"))
#: The health check of a site's load balancer asks for it.
CACHED = "constraints/upper_constraints_cached.txt"


def role_file(lines: Iterable[str], branch: str) -> bytes:
    """Return the bytes of a file with these lines: no empty ones, each with its end."""
    kept = [line for line in lines if line]
    if branch in _WITH_HEADER:
        kept.insert(0, HEADER)
    return "".join(f"{line}\n" for line in kept).encode()


def requirements_lines(items: Iterable[str]) -> list[str]:
    """Return the list that the role makes of its packages: each once, sorted as Jinja sorts: case does not count."""
    return sorted(dict.fromkeys(items), key=str.lower)


def pins_lines(text: str) -> list[str]:
    """Return the lines of a file of global requirement pins as OpenStack-Ansible reads it: without comments."""
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def constraint_lines(filenames: Iterable[str]) -> list[str]:
    """Return the constraints that the role makes of the names of wheels, sorted."""
    return sorted({f"{name}=={version}" for name, version in map(_distribution, filenames)})


def _distribution(filename: str) -> tuple[str, str]:
    """Return name and version as the role takes them: the first two parts, in lower case, ``_`` as ``.post``."""
    name, version, _ = filename.split("-", 2)
    return name.lower(), ".post".join(version.split("_")).lower()


def venv_files(basename: str, branch: str, lists: Mapping[str, Sequence[str]]) -> dict[str, bytes]:
    """Return name → bytes of the files of one venv; ``lists`` are their lines by the last part of the name."""
    return {f"{basename}-{kind}.txt": role_file(lines, branch) for kind, lines in lists.items()}


def upper_name(identifier: str) -> str:
    """Return the path on a repo host of the upper constraints that the roles know by ``identifier``."""
    return f"constraints/upper_constraints_{re.sub('/', '_', identifier)}.txt"


def named_item(item: str, name: str) -> str:
    """Return a requirement from git in the one form that the role can rewrite: ``git+URL@revision#egg=name``.

    Of ``name @ git+…``, a nameless ``git+…`` and an ``#egg=`` that is not the last part, the role makes a requirement
    that hosts without a network cannot install, or one that is none.
    """
    url = item.partition(";")[0].strip()
    url = url[url.index("git+") :]
    address, _, fragment = url.partition("#")
    subdirectory = next((part for part in fragment.split("&") if part.startswith("subdirectory=")), "")
    return f"{address.strip()}#{f'{subdirectory}&' if subdirectory else ''}egg={name}"


def must_be_named(item: str) -> bool:
    """Return whether the role would pass a requirement from git on as it is, or spoil it."""
    if "git+" not in item:
        return False
    _, found, name = item.rpartition("egg=")
    return not found or "&" in name or not item.lstrip().startswith("git+")

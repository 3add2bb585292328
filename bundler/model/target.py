"""A target: distro, version, architecture and the Python it belongs to.

The name is derived as OpenStack-Ansible does it (`debian-12-x86_64`, two-part version on Ubuntu only); a Python
that is not the distro's default adds `-py313`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from packaging.markers import default_environment
from packaging.tags import Tag, compatible_tags, cpython_tags

from bundler.errors import ManifestError
from bundler.model.target_names import ARCHES, DISTROS, TARGET_NAME

#: Oldest glibc that any manylinux tag names, by architecture (PEP 600 and its legacy aliases).
_OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17}
_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}


@dataclass(frozen=True, kw_only=True)
class Python:
    """A target's interpreter: `3.11.2` at `/usr/bin/python3.11`."""

    full_version: str
    executable: str

    @property
    def version(self) -> str:
        """Return `3.11` of `3.11.2`."""
        return ".".join(self.full_version.split(".")[:2])

    @property
    def tag(self) -> str:
        """Return `cp311`, as wheel tags name it."""
        return "cp" + self.version.replace(".", "")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One system that wheels and venvs are made for."""

    name: str
    distro: str
    version: str
    arch: str
    python: Python
    glibc: tuple[int, int]

    @cached_property
    def markers(self) -> dict[str, str]:
        """Return the marker environment of the target (PEP 508, environment markers)."""
        return {
            **{key: str(value) for key, value in default_environment().items()},
            "implementation_name": "cpython",
            "implementation_version": self.python.full_version,
            "os_name": "posix",
            "platform_machine": self.arch,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python.full_version,
            "python_version": self.python.version,
            "sys_platform": "linux",
        }

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """Return the wheel tags that the target accepts, best first (PEP 425, PEP 600)."""
        major, minor = (int(part) for part in self.python.version.split("."))
        platforms = list(self._platforms())
        own = cpython_tags((major, minor), [f"cp{major}{minor}"], platforms)
        shared = compatible_tags((major, minor), f"cp{major}{minor}", platforms)
        return (*own, *shared)

    def _platforms(self) -> Iterator[str]:
        major, newest = self.glibc
        for minor in range(newest, _OLDEST_GLIBC.get(self.arch, 17) - 1, -1):
            yield f"manylinux_{major}_{minor}_{self.arch}"
            if (major, minor) in _LEGACY:
                yield f"{_LEGACY[(major, minor)]}_{self.arch}"
        yield f"linux_{self.arch}"


def make_target(distro: str, version: str, arch: str, python: Python, glibc: tuple[int, int]) -> Target:
    """Return the target with its canonical name."""
    key = f"{distro}-{version}"
    default = DISTROS.get(key, (python.full_version, glibc))[0]
    same = default.split(".")[:2] == python.full_version.split(".")[:2]
    suffix = "" if same else "-py" + python.version.replace(".", "")
    return Target(name=f"{key}-{arch}{suffix}", distro=distro, version=version, arch=arch, python=python, glibc=glibc)


def known_target(name: str) -> Target:
    """Return the target called ``name`` from the table of distributions.

    Raises:
        ManifestError: The name has another form, or the distribution is not in the table.
    """
    match = TARGET_NAME.fullmatch(name)
    if match is None:
        raise ManifestError(
            f"{name!r} is no target name", hint="write <distro>-<version>-<arch>, e.g. debian-12-x86_64"
        )
    key = f"{match['distro']}-{match['version']}"
    if key not in DISTROS or match["arch"] not in ARCHES:
        raise ManifestError(
            f"unknown target {name!r}",
            hint=f"known: {', '.join(sorted(DISTROS))} with {' or '.join(ARCHES)}",
        )
    full, glibc = DISTROS[key]
    if match["minor"]:
        full = f"3.{match['minor']}.0"
    version = ".".join(full.split(".")[:2])
    python = Python(full_version=full, executable=f"/usr/bin/python{version}")
    return make_target(match["distro"], match["version"], match["arch"], python, glibc)

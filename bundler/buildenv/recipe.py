"""Recipes of root file systems: what mmdebstrap is told for a target. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bundler.errors import BuildEnvironmentError
from bundler.model.manifest import System
from bundler.model.plan import select
from bundler.model.target import Target

#: distro-version → suite of its archive.
SUITES: Mapping[str, str] = {
    "debian-11": "bullseye",
    "debian-12": "bookworm",
    "debian-13": "trixie",
    "ubuntu-22.04": "jammy",
    "ubuntu-24.04": "noble",
}
#: uname -m → what Debian calls the architecture.
ARCHITECTURES: Mapping[str, str] = {"x86_64": "amd64", "aarch64": "arm64"}
#: What every compiler run needs beside the headers that a venv names; git, because sources from git ask it for tags.
COMPILERS = ("build-essential", "git", "pkg-config")
_ORIGINS = {"debian": "Debian", "ubuntu": "Ubuntu"}


@dataclass(frozen=True, kw_only=True)
class Archive:
    """An archive that this host's apt knows: base address, origin (``Debian``), suite, component, keyring or key."""

    uri: str
    origin: str
    suite: str
    component: str
    signed_by: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a root file system is made of. ``sources`` are whole deb lines; ``packages`` are sorted.

    ``options`` are apt's, such as a proxy; they change how packages come, not which.
    """

    suite: str
    architecture: str
    sources: tuple[str, ...]
    packages: tuple[str, ...]
    options: tuple[str, ...] = ()

    def with_packages(self, packages: Sequence[str]) -> Recipe:
        """Return the recipe of a system that has further packages."""
        return replace(self, packages=tuple(sorted({*self.packages, *packages})))


def system_of(systems: Mapping[str, System], target: Target) -> System:
    """Return what the manifest says of the target's system; the most specific key wins."""
    return select(systems, target) or System()


def suite_of(target: Target, system: System) -> str:
    """Return the suite of the target's archive; empty where mmdebstrap cannot make its system."""
    return system.suite or SUITES.get(f"{target.distro}-{target.version}", "")


def base_recipe(target: Target, system: System, archives: Sequence[Archive], options: Sequence[str]) -> Recipe:
    """Return the recipe of the smallest system that runs the target's Python.

    Raises:
        BuildEnvironmentError: Suite or mirror are not known.
    """
    suite = suite_of(target, system)
    if not suite:
        raise BuildEnvironmentError(
            f"no root file system can be made for {target.name}: mmdebstrap makes Debian and Ubuntu",
            hint=f"set build.environment to container and systems.{target.distro}-{target.version}.image, "
            "or build on that system",
        )
    return Recipe(
        suite=suite,
        architecture=ARCHITECTURES[target.arch],
        sources=tuple(_sources(target, suite, system, archives)),
        packages=tuple(sorted({python_package(target), *system.packages})),
        options=tuple(options),
    )


def python_package(target: Target) -> str:
    """Return the package of the target's interpreter: of its default Python or of another."""
    return "python3" if "-py" not in target.name else f"python{target.python.version}"


def build_packages(target: Target, packages: Sequence[str]) -> tuple[str, ...]:
    """Return the packages of a system that compiles: compilers, Python's headers, and what the venvs name."""
    return tuple(sorted({*COMPILERS, f"{python_package(target)}-dev", *packages}))


def _sources(target: Target, suite: str, system: System, archives: Sequence[Archive]) -> Sequence[str]:
    components = " ".join(system.components)
    mark = f"[signed-by={system.keyring}] " if system.keyring else ""
    if system.mirrors:
        return [one if one.startswith("deb ") else f"deb {mark}{one} {suite} {components}" for one in system.mirrors]
    own = [one for one in archives if one.origin == _ORIGINS.get(target.distro)]
    found = dict.fromkeys(_line(one, suite, components, mark) for one in own if one.component == "main")
    if not found:
        raise BuildEnvironmentError(
            f"this host's apt knows no mirror of {target.distro} for {target.name}",
            hint=f"name one in systems.{target.distro}-{target.version}.mirrors (and its keyring), "
            "or apt-get update first",
        )
    return list(found)


def _line(archive: Archive, suite: str, components: str, mark: str) -> str:
    """Return the line for the same archive's part (main, updates, security) of another suite."""
    _, dash, part = archive.suite.partition("-")
    return f"deb {mark or _signed(archive)}{archive.uri} {suite}{dash}{part} {components}"


def _signed(archive: Archive) -> str:
    return f"[signed-by={archive.signed_by}] " if archive.signed_by.startswith("/") else ""

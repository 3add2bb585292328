"""Modules that only the distribution has (libvirt, apt), symlinked into a venv.

A package's own structure is kept: a regular package is one link to its directory, a module one link to its file,
a namespace package is made as a directory with links inside. Nothing is copied: the site installs the package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bundler.buildenv.dpkg import open_dpkg
from bundler.errors import Problem, VenvError
from bundler.model.target import Python
from bundler.process import Command, run, which

#: Where links go, below the venv: the frame links ``lib/pythonX.Y`` to ``lib/py``.
SITE = PurePosixPath("lib/py/site-packages")
_EXTENSION = re.compile(r"(?P<module>[^.]+)(?:\.(?P<abi>[^.]+))?\.so")
_METADATA = (".dist-info", ".egg-info")
#: Where systems of Red Hat's family keep rpm's database; the rpm of a Debian host would look elsewhere.
_RPM = ("usr/lib/sysimage/rpm", "var/lib/rpm")


@dataclass(frozen=True, kw_only=True)
class SystemPackages:
    """``links``: path below the venv and the absolute path that it points to, sorted. ``modules``: to be imported."""

    links: tuple[tuple[str, str], ...] = ()
    modules: tuple[str, ...] = ()


def find_system_packages(packages: Sequence[str], python: Python, root: Path = Path("/")) -> SystemPackages:
    """Return the links for distribution packages that are installed below ``root``, for a venv of ``python``.

    Raises:
        VenvError: Packages that are not installed or have nothing for this Python; all are named.
        ToolMissing: The root has no dpkg, and this host no rpm.
    """
    links: dict[str, str] = {}
    modules: list[str] = []
    problems: list[Problem] = []
    for package in dict.fromkeys(packages):
        files = list_files(package, root)
        if files is None:
            problems.append(_not_installed(package, root))
            continue
        found = links_of(files, python)
        names = modules_of(found)
        if not names:
            problems.append(_problem(package, f"has no module for Python {python.version}", "remove it"))
        links |= found
        modules += names
    if problems:
        raise VenvError(f"{len(problems)} system packages cannot be linked", problems=problems)
    return SystemPackages(links=tuple(sorted(links.items())), modules=tuple(sorted(set(modules))))


def _problem(package: str, what: str, hint: str) -> Problem:
    return Problem(where="system_packages", what=f"{package} {what}", hint=hint)


def _not_installed(package: str, root: Path) -> Problem:
    if root == Path("/"):
        return _problem(package, "is not installed", f"install it, e.g. apt-get install {package}")
    return _problem(
        package, "is not installed in the target's root file system", "does the target's distribution have it?"
    )


def list_files(package: str, root: Path = Path("/")) -> list[str] | None:
    """Return the absolute paths that a distribution package owns below ``root``; None where it is not installed.

    dpkg's database is read as it stands; without one, rpm is asked.

    Raises:
        ToolMissing: The root has no dpkg, and this host no rpm.
    """
    dpkg = open_dpkg(root)
    if dpkg is not None:
        return dpkg.files(package)
    database = [f"--dbpath=/{place}" for place in _RPM if (root / place).is_dir()]
    argv = [which("rpm"), f"--root={root.absolute()}", *database[:1], "-ql", package]
    done = run(Command(argv=argv, env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}), check=False)
    return done.text.splitlines() if done.returncode == 0 else None


def links_of(files: Iterable[str], python: Python) -> dict[str, str]:
    """Return path below the venv → absolute path, for what ``files`` has in the directories of ``python``."""
    owned = [PurePosixPath(file) for file in files]
    links: dict[str, str] = {}
    for site in _sites(python):
        inside = sorted(path.relative_to(site) for path in owned if site in path.parents)
        links |= {str(SITE / path): str(site / path) for path in _roots(inside, python)}
    return links


def _sites(python: Python) -> tuple[PurePosixPath, ...]:
    version = f"python{python.version}"
    return tuple(
        PurePosixPath(place)
        for place in (
            "/usr/lib/python3/dist-packages",
            f"/usr/lib/{version}/dist-packages",
            f"/usr/lib/{version}/site-packages",
            f"/usr/lib64/{version}/site-packages",
        )
    )


def _roots(inside: Sequence[PurePosixPath], python: Python) -> Iterator[PurePosixPath]:
    """Yield the paths that are linked as they are: regular packages, metadata and single files."""
    known = set(inside)
    directories = {parent for path in inside for parent in path.parents}
    whole = {path for path in directories if path.name and (_whole(path) or path / "__init__.py" in known)}
    for path in sorted(known | directories):
        if whole.intersection(path.parents) or "__pycache__" in path.parts:
            continue
        if path in whole or (path not in directories and _fits(path.name, python)):
            yield path


def _whole(path: PurePosixPath) -> bool:
    return path.name.endswith(_METADATA)


def _fits(name: str, python: Python) -> bool:
    """Return whether a file is for ``python``: an extension module of another version is not."""
    match = _EXTENSION.fullmatch(name)
    abi = match["abi"] if match else None
    return abi is None or not abi.startswith("cpython-") or abi.startswith(f"cpython-{python.tag[2:]}-")


def modules_of(links: Iterable[str]) -> list[str]:
    """Return the names that the links make importable; private ones only where there are no others."""
    names = [name for path in links for name in [_module(PurePosixPath(path).relative_to(SITE))] if name]
    return [name for name in names if not name.startswith("_")] or names


def _module(path: PurePosixPath) -> str:
    stem = path.name
    if not stem.endswith(_METADATA) and "." in stem:
        match = _EXTENSION.fullmatch(stem)
        stem = match["module"] if match else stem.removesuffix(".py")
    parts = (*path.parts[:-1], stem)
    return ".".join(parts) if all(part.isidentifier() for part in parts) else ""

"""The tested versions of a bundle as a constraints file, with their provenance in comments. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from bundler.errors import Problem
from bundler.model.contents import Contents, TargetEntry, VenvEntry

#: Targets that have a package, by version; the venvs that hold it there.
_Versions = dict[str, dict[str, list[str]]]


@dataclass(frozen=True, kw_only=True)
class Published:
    """The constraints file, and what does not fit into one."""

    text: str
    packages: int
    problems: tuple[Problem, ...]


def publish(contents: Contents, digest: str, venvs: Sequence[VenvEntry]) -> Published:
    """Return the constraints file of ``venvs``; ``digest`` is that of the bundle's SHA256SUMS.

    A version has a marker where targets differ. Versions that no marker tells apart are problems.
    """
    names = {venv.target for venv in venvs}
    targets = {target.name: target for target in contents.targets if target.name in names}
    packages: dict[str, _Versions] = {}
    for venv in venvs:
        for package in venv.packages:
            versions = packages.setdefault(str(canonicalize_name(package.name)), {})
            versions.setdefault(package.version, {}).setdefault(venv.target, []).append(venv.name)
    problems = tuple(problem for name in sorted(packages) for problem in _clashes(name, packages[name], targets))
    lines = [line for name in sorted(packages) for line in _lines(name, packages[name], targets)]
    text = "\n".join([*_head(contents, digest, venvs), *lines]) + "\n"
    return Published(text=text, packages=len(packages), problems=problems)


def _head(contents: Contents, digest: str, venvs: Iterable[VenvEntry]) -> Iterator[str]:
    yield f"# Tested versions of {contents.name} {contents.version}."
    yield f"# bundle: {contents.id}"
    yield f"# SHA256SUMS: {digest}"
    for venv in sorted(venvs, key=lambda one: (one.name, one.target)):
        yield f"# venv: {venv.name} on {venv.target}, Python {venv.python}, {_proof(venv)}"


def _proof(venv: VenvEntry) -> str:
    if venv.proof.level == "none":
        return "not proved"
    where = "in the target's system" if venv.proof.level == "target" else "on the build host"
    return f"proved {where}: {venv.proof.checks} checks"


def _lines(name: str, versions: _Versions, targets: Mapping[str, TargetEntry]) -> Iterator[str]:
    every = {target for held in versions.values() for target in held}
    for version, held in sorted(versions.items()):
        venvs = ", ".join(sorted({venv for names in held.values() for venv in names}))
        if len(versions) == 1:
            where = "" if every == set(targets) else f" on {', '.join(sorted(held))}"
            yield f"{name}=={version}  # {venvs}{where}"
        else:
            for marker in _markers(held, every, targets):
                yield f"{name}=={version} ; {marker}  # {venvs} on {', '.join(sorted(held))}"


def _markers(held: Iterable[str], every: Iterable[str], targets: Mapping[str, TargetEntry]) -> list[str]:
    """Return the markers of the targets ``held``: by Python, and by machine where that is not enough."""
    others = {_series(targets[name]) for name in every if name not in set(held)}
    found = []
    for name in sorted(held):
        target = targets[name]
        python = f'python_version == "{_series(target)}"'
        machine = f' and platform_machine == "{target.arch}"' if _series(target) in others else ""
        found.append(python + machine)
    return list(dict.fromkeys(found))


def _clashes(name: str, versions: _Versions, targets: Mapping[str, TargetEntry]) -> Iterator[Problem]:
    """Yield a problem for each system that no marker tells from another which has a second version."""
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for version, held in sorted(versions.items()):
        for target, venvs in sorted(held.items()):
            key = (_series(targets[target]), targets[target].arch)
            here = f"{', '.join(sorted(venvs))} on {target}"
            other, place = seen.setdefault(key, (version, here))
            if other != version:
                yield Problem(where=name, what=f"is {other} in {place}, but {version} in {here}")


def _series(target: TargetEntry) -> str:
    """Return ``3.11`` of ``3.11.2``."""
    return ".".join(target.python.split(".")[:2])

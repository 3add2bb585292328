"""The manifest expanded: what is to be made, per venv and target. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from packaging.utils import canonicalize_name

from bundler.errors import ManifestError, Problem, RequirementError
from bundler.model.contents import SEEDS
from bundler.model.manifest import (
    AllowedFailure,
    ConstraintLayer,
    DistroPackages,
    Manifest,
    PackageList,
    Smoke,
    Venv,
    VenvConstraints,
    VenvOverride,
)
from bundler.model.requirement import Requested, parse_requirement
from bundler.model.target import Python, Target, make_target

FAMILIES: Mapping[str, str] = {
    "debian": "debian",
    "ubuntu": "debian",
    "rocky": "redhat",
    "almalinux": "redhat",
    "centos": "redhat",
    "redhat": "redhat",
}
#: What installs packages on a system of the family.
PACKAGE_MANAGERS: Mapping[str, str] = {"debian": "apt", "redhat": "dnf"}

_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class VenvPlan:
    """One venv on one target, with enabled groups and overrides applied.

    ``requirements`` are those whose marker holds on the target; ``layers`` the constraint layers in force, highest
    first. ``target`` is the venv's own: a venv that names a Python has that Python's target. ``own`` are the
    requirements as they were written, without those that every venv gets.
    """

    name: str
    target: Target
    path: str
    requirements: tuple[Requested, ...]
    build_requirements: tuple[Requested, ...] = ()
    system_packages: tuple[str, ...] = ()
    build_packages: tuple[str, ...] = ()
    runtime_packages: tuple[str, ...] = ()
    smoke: tuple[Smoke, ...] = ()
    allow: tuple[AllowedFailure, ...] = ()
    constraints: VenvConstraints = field(default_factory=VenvConstraints)
    layers: tuple[ConstraintLayer, ...] = ()
    own: tuple[str, ...] = ()

    @property
    def basename(self) -> str:
        """Return the last part of the install path: what the archive is called."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def host_packages(self) -> tuple[str, ...]:
        """Return the distro packages that a service host must have: those to run, and those that are symlinked in."""
        return _unique(self.runtime_packages, self.system_packages)


def target_keys(target: Target) -> tuple[str, ...]:
    """Return the keys that select ``target`` in a mapping, most specific first.

    Its name, the name without the Python, distro-version; then as OpenStack-Ansible's roles look for their variables:
    distro-major, family-major, distro, family; then the package manager.
    """
    system, major = f"{target.distro}-{target.version}", target.version.partition(".")[0]
    family = FAMILIES.get(target.distro, target.distro)
    roles = (f"{target.distro}-{major}", f"{family}-{major}", target.distro, family)
    keys = (target.name, f"{system}-{target.arch}", system, *roles, PACKAGE_MANAGERS.get(family, ""))
    return tuple(dict.fromkeys(filter(None, keys)))


def select(values: Mapping[str, _Value], target: Target, *last: str) -> _Value | None:
    """Return the value under the most specific key of ``target``, else under one of ``last``; case does not count."""
    known = {key.lower(): value for key, value in values.items()}
    return next((known[key] for key in (*target_keys(target), *last) if key in known), None)


def choose_packages(packages: PackageList, target: Target) -> tuple[str, ...]:
    """Return the list for ``target``: the most specific key wins, ``default`` comes last."""
    if not isinstance(packages, dict):
        return tuple(packages)
    return tuple(select(packages, target, "default") or ())


def effective_layers(manifest: Manifest, venv: Venv) -> tuple[ConstraintLayer, ...]:
    """Return the constraint layers of ``venv``, highest precedence first."""
    own = venv.constraints.layers
    return own if venv.constraints.mode == "replace" else (*own, *manifest.constraints)


def plan_venvs(manifest: Manifest, targets: Sequence[Target]) -> tuple[VenvPlan, ...]:
    """Return the plan of each venv on each target, in the manifest's order of venvs, then of targets.

    Raises:
        ManifestError: Requirements that do not parse; all are named.
    """
    problems: list[Problem] = []
    plans: dict[tuple[str, str], VenvPlan] = {}
    for name, venv in manifest.venvs.items():
        for target in targets:
            own = _target_of(venv, target)
            override = _override(venv, own)
            if not override.skip and (name, own.name) not in plans:
                plans[name, own.name] = _plan(manifest, name, own, problems)
    if problems:
        unique = tuple(dict.fromkeys(problems))
        raise ManifestError(f"{len(unique)} requirements do not parse", problems=unique)
    return tuple(plans.values())


def plan_seeds(manifest: Manifest, targets: Sequence[Target]) -> tuple[VenvPlan, ...]:
    """Return what is carried for each target beside the venvs, as plans that are locked like a venv's.

    Raises:
        ManifestError: Requirements that do not parse; all are named.
    """
    problems: list[Problem] = []
    wanted = _parse(manifest.seed_packages, "seed_packages", problems)
    if problems:
        raise ManifestError(f"{len(problems)} requirements do not parse", problems=problems)
    plans = (
        VenvPlan(name=SEEDS, target=one, path="", requirements=_applying(wanted, one), layers=manifest.constraints)
        for one in targets
    )
    return tuple(plan for plan in plans if plan.requirements)


def _target_of(venv: Venv, target: Target) -> Target:
    wanted = venv.python
    if wanted is None or wanted in (target.python.version, target.python.full_version):
        return target
    version = ".".join(wanted.split(".")[:2])
    full = wanted if wanted != version else f"{version}.0"
    python = Python(full_version=full, executable=f"/usr/bin/python{version}")
    return make_target(target.distro, target.version, target.arch, python, target.glibc)


def _override(venv: Venv, target: Target) -> VenvOverride:
    return select(venv.targets, target) or VenvOverride()


def _plan(manifest: Manifest, name: str, target: Target, problems: list[Problem]) -> VenvPlan:
    venv = manifest.venvs[name]
    override = _override(venv, target)
    where = f"venvs.{name}"
    default = _parse(manifest.default_packages, "default_packages", problems)
    kept = _without(_wanted(venv, where, default, problems), override.remove)
    added = _parse(override.packages, f"{where}.targets", problems)
    own = _applying((*_without(_wanted(venv, where, (), []), override.remove), *added), target)
    return VenvPlan(
        name=name,
        target=target,
        path=venv.path,
        requirements=_applying((*kept, *added), target),
        build_requirements=_applying(
            _parse(venv.build_requirements, f"{where}.build_requirements", problems), target
        ),
        system_packages=_unique(venv.system_packages, override.system_packages),
        build_packages=_distro(venv, override, target, lambda one: one.build),
        runtime_packages=_distro(venv, override, target, lambda one: one.runtime),
        smoke=venv.smoke,
        allow=(*venv.allow, *manifest.proof.allow),
        constraints=venv.constraints,
        layers=effective_layers(manifest, venv),
        own=tuple(one.text for one in own),
    )


def _wanted(venv: Venv, where: str, default: Iterable[Requested], problems: list[Problem]) -> tuple[Requested, ...]:
    found = _parse(venv.packages, f"{where}.packages", problems)
    found += tuple(one for one in default if one.name not in {other.name for other in found})
    for group in dict.fromkeys(venv.enable):
        found += _parse(venv.groups.get(group, ()), f"{where}.groups.{group}", problems)
    return found


def _parse(lines: Iterable[str], where: str, problems: list[Problem]) -> tuple[Requested, ...]:
    found = (_parse_one(line, f"{where}[{number}]", problems) for number, line in enumerate(lines))
    return tuple(one for one in found if one is not None)


def _parse_one(line: str, where: str, problems: list[Problem]) -> Requested | None:
    try:
        return parse_requirement(line)
    except RequirementError as error:
        problems.append(Problem(where=where, what=error.message, hint=error.hint))
        return None


def _without(requirements: Iterable[Requested], names: Iterable[str]) -> tuple[Requested, ...]:
    removed = {canonicalize_name(name) for name in names}
    return tuple(one for one in requirements if one.name not in removed)


def _applying(requirements: Iterable[Requested], target: Target) -> tuple[Requested, ...]:
    unique = {one.to_pep508(): one for one in requirements if one.applies(target.markers)}
    return tuple(unique.values())


def _distro(
    venv: Venv, override: VenvOverride, target: Target, part: Callable[[DistroPackages], PackageList]
) -> tuple[str, ...]:
    own, more = part(venv.distro_packages), part(override.distro_packages)
    return _unique(choose_packages(own, target), choose_packages(more, target))


def _unique(*lists: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for one in lists for item in one))

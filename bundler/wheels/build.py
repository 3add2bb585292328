"""Builds one locked package into a wheel: private tree, isolated build venv, PEP 517, checks, store.

A result is remembered by everything that went in (source, target, build requirements, settings) and never made twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundler import clock
from bundler.buildenv.port import BuildEnvironment
from bundler.errors import BuildError, Problem, WheelBuildFailed, WheelRefused
from bundler.model.lock import LockedPackage
from bundler.model.manifest import PackageBuild
from bundler.model.target import Target
from bundler.model.wheel import Wheel
from bundler.store.cas import Store, key_of
from bundler.wheels.check import CHECK_VERSION, Expected, check_filename, check_wheel
from bundler.wheels.hooks import Backend
from bundler.wheels.source import Sources, source_identity

#: Rises whenever the same inputs would give other wheels.
BUILDER_VERSION = 2
_NO_VERSION = "0.0.0"


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """What to build, for which target, with which wheels in the build venv."""

    package: LockedPackage
    target: Target
    requirements: tuple[Wheel, ...] = ()
    settings: PackageBuild = field(default_factory=PackageBuild)

    @property
    def what(self) -> str:
        """Return how messages name it."""
        return f"{self.package.name} {self.package.version} for {self.target.name}"


def build_key(request: BuildRequest, environment: BuildEnvironment) -> str:
    """Return the digest of everything that the wheel depends on."""
    host = environment.target
    return key_of(
        BUILDER_VERSION,
        CHECK_VERSION,
        (request.package.name, request.package.version, source_identity(request.package)),
        # A build that saw the network or this host's files is not taken for one that did not.
        (request.target.name, environment.name, host.name, host.python.full_version, environment.describe()),
        # Nor is what was linked to other versions of the system's libraries.
        environment.spec.identity,
        sorted((wheel.filename, wheel.digest) for wheel in request.requirements),
        (dict(request.settings.env), dict(request.settings.config_settings)),
    )


def recall_wheel(request: BuildRequest, environment: BuildEnvironment, store: Store) -> Wheel | None:
    """Return the wheel that an earlier build with the same inputs made, or None."""
    known = store.recall("wheel", build_key(request, environment))
    if not isinstance(known, dict) or not store.has(str(known.get("digest"))):
        return None
    return wheel_of(request, str(known["filename"]), str(known["digest"]), store.size(str(known["digest"])))


def remember_wheel(request: BuildRequest, environment: BuildEnvironment, store: Store, wheel: Wheel) -> None:
    """Remember ``wheel``, which is in the store, as what a build with these inputs gives."""
    value = {"filename": wheel.filename, "digest": wheel.digest}
    store.remember("wheel", build_key(request, environment), value)


def build_wheel(request: BuildRequest, environment: BuildEnvironment, sources: Sources) -> Wheel:
    """Return the wheel of ``request``, built unless that was done before.

    Raises:
        WheelBuildFailed: The backend failed; the message has the log's last lines, the hint where log and tree are.
        WheelRefused: It built something else than the locked package, or a wheel that does not pass the checks.
        BuildEnvironmentError: The build venv cannot be made.
    """
    store = sources.store
    known = recall_wheel(request, environment, store)
    if known is not None:
        return known
    key = build_key(request, environment)
    label = f"{request.package.name}-{request.package.version}-{request.target.name}-{key[:8]}"
    started = clock.stopwatch()
    with store.workdir("build") as root:
        try:
            path = _build(request, environment, sources, root, log=store.root / "logs" / f"{label}.log")
            _check(request, environment, path)
        except BuildError as error:
            kept = _keep(root, store.root / "failed" / label)
            raise type(error)(
                error.message, hint=f"{error.hint}; tree: {kept}".removeprefix("; "), problems=error.problems
            ) from error
        blob = store.adopt(path)
        wheel = wheel_of(request, path.name, blob.digest, blob.size)
    remember_wheel(request, environment, store, wheel)
    seconds = round(clock.stopwatch() - started, 2)
    store.remember("build-seconds", duration_key(request.package.name, request.target.name), {"seconds": seconds})
    return wheel


def duration_key(name: str, target: str) -> str:
    """Return under which key the store remembers how long builds of the package ``name`` take for a target."""
    return key_of(name, target)


def _build(request: BuildRequest, environment: BuildEnvironment, sources: Sources, root: Path, *, log: Path) -> Path:
    package = request.package
    check_requirements(request.what, request.requirements, environment, request.target)
    _begin_log(request, environment, log)
    wheels = {wheel.filename: sources.store.checked(wheel.digest) for wheel in request.requirements}
    workspace = environment.create(root, wheels)
    tree = sources.place(package, root / f"{package.name}-{package.version}")
    backend = Backend(
        what=request.what,
        environment=environment,
        workspace=workspace,
        tree=tree,
        log=log,
        settings=request.settings,
    )
    return backend.wheel()


def _begin_log(request: BuildRequest, environment: BuildEnvironment, log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"building {request.what} with {environment.target.python.executable} in {environment.name}",
        f"source: {' '.join(source_identity(request.package))}",
        f"build requirements: {', '.join(wheel.filename for wheel in request.requirements) or 'none'}",
        f"not isolated: {', '.join(environment.describe()) or 'nothing'}",
    ]
    log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def check_requirements(what: str, wheels: Sequence[Wheel], environment: BuildEnvironment, target: Target) -> None:
    """Refuse build requirements that the build's interpreter cannot use: those of a target that is not its own.

    Raises:
        WheelBuildFailed: Some do not fit; all are reported.
    """
    expected = [
        Expected(filename=wheel.filename, name=wheel.name, version=wheel.version, target=environment.target)
        for wheel in wheels
    ]
    problems = [problem for one in expected for problem in check_filename(one)[1]]
    if problems:
        raise WheelBuildFailed(
            f"{what} cannot be built on {environment.target.name}: its build requirements do not fit",
            hint=f"build on {target.name}, or give a wheel of it in a wheel folder",
            problems=problems,
        )


def _check(request: BuildRequest, environment: BuildEnvironment, path: Path) -> None:
    package = request.package
    if package.kind in ("git", "directory") and path.name.split("-")[1:2] == [_NO_VERSION]:
        raise WheelRefused(
            f"{request.what}: its source gives version {_NO_VERSION}, so it knows no tag",
            hint="use a repository with its tags, or set PBR_VERSION in build.packages of the manifest",
        )
    expected = Expected(filename=path.name, name=package.name, version=package.version, target=request.target)
    problems = check_wheel(path, expected)
    foreign = environment.target.name != request.target.name
    if foreign and not path.name.endswith("-none-any.whl"):
        what = f"was compiled on {environment.target.name} and holds native code"
        hint = f"build on {request.target.name}, or give a wheel of it in a wheel folder"
        problems.append(Problem(where=path.name, what=what, hint=hint))
    if problems:
        raise WheelRefused(
            f"{request.what}: the built wheel is refused",
            hint="correct the source or its build settings, or choose another version",
            problems=problems,
        )


def _keep(root: Path, place: Path) -> Path:
    """Keep a failed build's tree for people, in place of an older one."""
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    root.rename(place)
    return place


def wheel_of(request: BuildRequest, filename: str, digest: str, size: int) -> Wheel:
    """Return the wheel of ``request`` whose file is the blob ``digest``."""
    package = request.package
    return Wheel(
        name=package.name,
        version=package.version,
        filename=filename,
        digest=digest,
        size=size,
        kind=package.kind,
        origin=package.origin,
    )

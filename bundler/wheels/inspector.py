"""Answers a resolver's questions about sources: their core metadata and their build requirements.

What a source declares is read; only what it does not declare is asked of its backend, in a build environment with the
wheels that the source's static requirements resolve to. Answers are remembered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from bundler.buildenv.port import BuildEnvironment
from bundler.errors import WheelBuildFailed
from bundler.model.lock import Artifact, LockedPackage
from bundler.model.manifest import Build, PackageBuild
from bundler.model.target import Target
from bundler.model.wheel import Wheel
from bundler.store.cas import key_of
from bundler.wheels.build import check_requirements
from bundler.wheels.hooks import Backend
from bundler.wheels.metadata import static_metadata
from bundler.wheels.requirements import static_requires
from bundler.wheels.source import Sources, source_identity

#: Rises whenever the same source would give other answers.
INSPECT_VERSION = 1
#: What is being asked on the way to here, as (name, identity): the wheels of build requirements may need asking too.
_asking: ContextVar[tuple[tuple[str, tuple[str, ...]], ...]] = ContextVar("asking", default=())


def asked() -> str:
    """Return name and version of the source whose build requirements are looked for, in this very context."""
    return _asking.get()[-1][0]


@dataclass(frozen=True, kw_only=True)
class _Declared:
    requires: tuple[str, ...]
    metadata: bytes | None


@dataclass(frozen=True, kw_only=True)
class SourceInspector:
    """``wheels_for`` resolves build requirement lines for a target and returns their wheels, in the store.

    ``fetch`` brings an sdist into the store; git and directory sources come through ``sources``.
    """

    sources: Sources
    fetch: Callable[[Sequence[Artifact]], object]
    environment: Callable[[Target], BuildEnvironment]
    wheels_for: Callable[[tuple[str, ...], Target], Sequence[Wheel]]
    settings: Build = field(default_factory=Build)

    def metadata(self, package: LockedPackage, target: Target) -> bytes:
        """Return METADATA of the wheel that ``package`` will become.

        Raises:
            WheelBuildFailed: The source is damaged, or its backend failed.
        """
        declared = self._declared(package)
        if declared.metadata is not None:
            return declared.metadata
        answer = self._ask(package, target, self.build_requires(package, target), "metadata")
        return "".join(answer).encode()

    def build_requires(self, package: LockedPackage, target: Target) -> tuple[str, ...]:
        """Return everything that building ``package`` requires: static, from its backend, from the manifest.

        Raises:
            WheelBuildFailed: The source is damaged, or its backend failed.
        """
        static = (*self._declared(package).requires, *self._settings(package).requires)
        answer = self._ask(package, target, static, "requires")
        return tuple(dict.fromkeys((*static, *answer)))

    def _settings(self, package: LockedPackage) -> PackageBuild:
        return self.settings.packages.get(package.name, PackageBuild())

    def _declared(self, package: LockedPackage) -> _Declared:
        store = self.sources.store
        key = key_of(INSPECT_VERSION, source_identity(package))
        known = store.recall("source-declares", key)
        if isinstance(known, dict):
            metadata = known["metadata"]
            return _Declared(requires=tuple(known["requires"]), metadata=metadata and str(metadata).encode())
        self._fetch(package)
        with store.workdir("source") as root:
            tree = self.sources.place(package, root / f"{package.name}-{package.version}")
            found = _Declared(requires=static_requires(tree.project), metadata=static_metadata(tree.project))
        text = None if found.metadata is None else found.metadata.decode("utf-8", "replace")
        store.remember("source-declares", key, {"requires": found.requires, "metadata": text})
        return found

    def _fetch(self, package: LockedPackage) -> None:
        if isinstance(package.origin, Artifact):
            self.fetch([package.origin])

    def _ask(
        self, package: LockedPackage, target: Target, requires: tuple[str, ...], question: str
    ) -> tuple[str, ...]:
        """Return the backend's answer to ``question``, from a fresh build venv that holds ``requires``."""
        store = self.sources.store
        environment = self.environment(target)
        settings = self._settings(package)
        name = f"{package.name} {package.version}".strip()
        what = f"{name} for {target.name}"
        with _no_circle(name, (target.name, *source_identity(package))):
            wheels = self.wheels_for(requires, target)
        check_requirements(what, wheels, environment, target)
        key = key_of(
            (INSPECT_VERSION, question, source_identity(package)),
            (environment.name, environment.target.name, environment.target.python.full_version),
            sorted((wheel.filename, wheel.digest) for wheel in wheels),
            (dict(settings.env), dict(settings.config_settings)),
        )
        known = store.recall("source-answers", key)
        if isinstance(known, dict):
            return tuple(known["answer"])
        self._fetch(package)
        label = f"{package.name}-{package.version}-{target.name}-{question}-{key[:8]}"
        with store.workdir("inspect") as root:
            workspace = environment.create(root, {wheel.filename: store.checked(wheel.digest) for wheel in wheels})
            backend = Backend(
                what=what,
                environment=environment,
                workspace=workspace,
                tree=self.sources.place(package, root / f"{package.name}-{package.version}"),
                log=store.root / "logs" / f"{label}.log",
                settings=settings,
            )
            answer = (
                backend.requires() if question == "requires" else (backend.metadata().decode("utf-8", "replace"),)
            )
        store.remember("source-answers", key, {"answer": answer})
        return answer


@contextlib.contextmanager
def _no_circle(name: str, identity: tuple[str, ...]) -> Iterator[None]:
    """Refuse to ask a source for what it needs while it is asked for that: its build requirements need it built."""
    way = _asking.get()
    if (name, identity) in way:
        names = " → ".join(one for one, _ in (*way[way.index((name, identity)) :], (name, identity)))
        raise WheelBuildFailed(
            f"{name} must be asked what it needs, and needs itself for that: {names}",
            hint="name an index or a wheel folder that has a wheel of it",
        )
    token = _asking.set((*way, (name, identity)))
    try:
        yield
    finally:
        _asking.reset(token)

"""Images that are on this host already: which engine has one, and what it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundler.buildenv.container_engine import ENGINES, Engine
from bundler.buildenv.environment import SYSTEM_PATH
from bundler.errors import BuildEnvironmentError, CommandFailed
from bundler.process import Command, run
from bundler.store.cas import key_of

#: How engines say that they do not have an image.
_ABSENT = ("image not known", "no such image", "no such object")
_TIMEOUT = 120
_EXPORT_TIMEOUT = 1800


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image: its ``id`` as its engine knows it, its ``identity``, which is the same with every engine.

    ``env`` are the variables that it sets: where its compilers are, for example.
    """

    engine: Engine
    name: str
    id: str
    identity: str
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Return its PATH."""
        return self.env.get("PATH") or SYSTEM_PATH


def find_image(name: str) -> Image:
    """Return the image called ``name`` of the first engine that has it.

    Raises:
        BuildEnvironmentError: No engine is installed, none works, or none has the image.
    """
    engines = [engine for engine in ENGINES if shutil.which(engine)]
    if not engines:
        raise BuildEnvironmentError(
            "neither podman nor docker is installed, so no build can run in a container",
            hint="apt-get install podman",
        )
    failures = []
    for engine in engines:
        found = _look(engine, name)
        if isinstance(found, Image):
            return found
        failures.append((engine, found))
    raise _not_found(name, failures)


def _look(engine: str, name: str) -> Image | CommandFailed:
    try:
        said = _ask(engine, "image", "inspect", name)
        return _image(Engine(name=engine, rootless=_is_rootless(engine)), name, json.loads(said)[0])
    except CommandFailed as error:
        return error
    except (ValueError, LookupError) as error:
        return CommandFailed(f"{engine} image inspect {name} answers something else: {error}", returncode=0)


def _image(engine: Engine, name: str, data: Mapping[str, Any]) -> Image:
    config: Mapping[str, Any] = data.get("Config") or {}
    env = dict(line.partition("=")[::2] for line in config.get("Env") or ())
    layers = (data.get("RootFS") or {}).get("Layers") or ()
    return Image(
        engine=engine,
        name=name,
        id=data["Id"],
        # Not the engine's id: that has the time of an import in it.
        identity=key_of(data.get("Architecture"), list(layers), sorted(env.items())),
        env=env,
    )


def export_image(image: Image, tar: Path) -> None:
    """Write the root file system of ``image`` to ``tar``; the container that this takes is never started.

    Raises:
        BuildEnvironmentError: The engine fails.
    """
    engine = image.engine.name
    try:
        container = _ask(engine, "create", "--network=none", image.id, "true").strip()
        try:
            run(Command(argv=[engine, "export", "--output", str(tar), container]), timeout=_EXPORT_TIMEOUT)
        finally:
            _ask(engine, "rm", container)
    except CommandFailed as error:
        raise does_not_run(engine, error) from error


def _is_rootless(engine: str) -> bool:
    if engine == "podman":
        return os.geteuid() != 0
    return "name=rootless" in _ask(engine, "info", "--format", "{{json .SecurityOptions}}")


def _ask(*argv: str) -> str:
    return run(Command(argv=argv), timeout=_TIMEOUT).text


def _not_found(name: str, failures: list[tuple[str, CommandFailed]]) -> BuildEnvironmentError:
    asked = [engine for engine, error in failures if any(sign in error.output.lower() for sign in _ABSENT)]
    broken = [(engine, error) for engine, error in failures if engine not in asked]
    if not asked:
        return does_not_run(*broken[0])
    heard = [f"asked: {', '.join(asked)}", *(f"{engine}: {last_line(error)}" for engine, error in broken)]
    return BuildEnvironmentError(
        f"image {name} is not on this host ({'; '.join(heard)})",
        hint=f"{asked[0]} pull {name}, or make one: "
        f"mmdebstrap --include=build-essential,python3-dev SUITE - | {asked[0]} import - {name}",
    )


def does_not_run(engine: str, error: CommandFailed) -> BuildEnvironmentError:
    """Return the error for an engine that fails by itself, with its last line."""
    return BuildEnvironmentError(
        f"{engine} does not work here: {last_line(error)}",
        hint=f"try: {engine} run --rm --network=none IMAGE true; the guide's page on build environments knows more",
    )


def last_line(error: CommandFailed) -> str:
    """Return the last line that a failed command printed."""
    return error.output.strip().rpartition("\n")[2] or error.message

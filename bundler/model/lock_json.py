"""A lock as the files of its directory, and back.

lock.json                               what PEP 751 has no field for, and which files there are
<target>/pylock.<venv>.toml             PEP 751
<target>/build/pylock.<package>.toml    build requirements of a package that must be built
<target>/seed/pylock.toml               packages that the target carries beside those of venvs
constraints/<group>.txt                 effective constraints of a group of venvs
constraints/_upper.txt                  the constraint layer called upper, as it was
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from bundler.errors import LockInvalid
from bundler.model.lock import BuildLock, LayerRecord, Lock, Shadowed, VenvLock
from bundler.model.pylock import pylock_text, read_pylock
from bundler.model.target import Target

FORMAT = 1
INDEX = "lock.json"
_UPPER = "constraints/_upper.txt"
_HINT = "restore the lock, or delete it and lock again"
_PATH = re.compile(r"[A-Za-z0-9._+-]+(?:/[A-Za-z0-9._+-]+)*")

#: Return the bytes of a file of the lock, by its path relative to the directory.
Read = Callable[[str], bytes]


def lock_files(lock: Lock, targets: Mapping[str, Target]) -> dict[str, bytes]:
    """Return the files of ``lock`` by path; ``targets`` has every target that it names."""
    files: dict[str, bytes] = {}
    venvs, builds = [], []
    for venv in lock.venvs:
        path = f"{venv.target}/pylock.{venv.venv}.toml"
        files[path] = pylock_text(venv.packages, targets[venv.target]).encode()
        venvs.append({"venv": venv.venv, "target": venv.target, "file": path})
    seeds = []
    for seed in lock.seeds:
        path = f"{seed.target}/seed/pylock.toml"
        files[path] = pylock_text(seed.packages, targets[seed.target]).encode()
        seeds.append({"venv": seed.venv, "target": seed.target, "file": path})
    names = [(build.package, build.target) for build in lock.builds]
    for build in lock.builds:
        path = _build_path(build, alone=names.count((build.package, build.target)) == 1)
        files[path] = pylock_text(build.packages, targets[build.target]).encode()
        builds.append({"package": build.package, "version": build.version, "target": build.target, "file": path})
    effective = {}
    for group, text in lock.effective.items():
        effective[group] = f"constraints/{group}.txt"
        files[effective[group]] = text.encode()
    if lock.upper:
        files[_UPPER] = lock.upper.encode()
    document = {
        "format": FORMAT,
        "name": lock.name,
        "version": lock.version,
        "sequence": lock.sequence,
        "created": lock.created,
        "inputs": lock.inputs,
        "manifest": lock.manifest,
        "resolver": lock.resolver,
        "tool": lock.tool,
        "targets": list(lock.targets),
        "venvs": venvs,
        "seeds": seeds,
        "builds": builds,
        "layers": [asdict(layer) for layer in lock.layers],
        "shadowed": [asdict(one) for one in lock.shadowed],
        "effective": effective,
        "upper": _UPPER if lock.upper else "",
        "warnings": list(lock.warnings),
    }
    files[INDEX] = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    return files


def read_lock(read: Read, where: str) -> Lock:
    """Return the lock whose files ``read`` gives; ``where`` is what messages call its directory.

    Raises:
        LockInvalid: A file is missing, or is not what we write.
    """
    text = _text(read, INDEX, where)
    try:
        document = json.loads(text)
        if document.get("format") != FORMAT:
            raise LockInvalid(
                f"{where}/{INDEX}: format {document.get('format')!r} is not known",
                hint="update bundle-build, or delete the lock and lock again",
            )
        return _lock(document, read, where)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LockInvalid(f"{where}/{INDEX}: {type(error).__name__}: {error}", hint=_HINT) from error


def _lock(document: Mapping[str, Any], read: Read, where: str) -> Lock:
    def packages(entry: Mapping[str, Any]) -> Any:
        path = entry["file"]
        return read_pylock(_text(read, path, where), f"{where}/{path}")

    def venvs(entries: Iterable[Mapping[str, Any]]) -> tuple[VenvLock, ...]:
        return tuple(
            VenvLock(venv=_string(entry["venv"]), target=_string(entry["target"]), packages=packages(entry))
            for entry in entries
        )

    upper = _string(document.get("upper", ""))

    return Lock(
        name=_string(document["name"]),
        version=_string(document["version"]),
        sequence=int(document["sequence"]),
        created=int(document["created"]),
        inputs=_string(document["inputs"]),
        resolver=_string(document["resolver"]),
        tool=_string(document.get("tool", "")),
        targets=tuple(_string(name) for name in document["targets"]),
        venvs=venvs(document["venvs"]),
        builds=tuple(
            BuildLock(
                package=_string(entry["package"]),
                version=_string(entry["version"]),
                target=_string(entry["target"]),
                packages=packages(entry),
            )
            for entry in document["builds"]
        ),
        layers=tuple(LayerRecord(**_strings(entry)) for entry in document["layers"]),
        shadowed=tuple(Shadowed(**_strings(entry)) for entry in document["shadowed"]),
        effective={group: _text(read, path, where) for group, path in document["effective"].items()},
        warnings=tuple(_string(text) for text in document["warnings"]),
        manifest=_string(document.get("manifest", "")),
        seeds=venvs(document.get("seeds", ())),
        upper=_text(read, upper, where) if upper else "",
    )


def _build_path(build: BuildLock, *, alone: bool) -> str:
    """Return the file of a build; PEP 751 allows no dot in what stands between pylock and toml."""
    version = "" if alone else "-" + re.sub(r"[^A-Za-z0-9]", "_", build.version)
    return f"{build.target}/build/pylock.{build.package}{version}.toml"


def _text(read: Read, path: str, where: str) -> str:
    if not _PATH.fullmatch(path) or ".." in path.split("/"):
        raise LockInvalid(f"{where}/{INDEX}: {path!r} is no path of a lock file", hint=_HINT)
    try:
        return read(path).decode("utf-8")
    except OSError as error:
        raise LockInvalid(f"{where}/{path}: {error.strerror or error}", hint=_HINT) from error
    except UnicodeDecodeError as error:
        raise LockInvalid(f"{where}/{path}: is not UTF-8 text", hint=_HINT) from error


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value


def _strings(entry: Mapping[str, Any]) -> dict[str, str]:
    return {key: _string(value) for key, value in entry.items()}

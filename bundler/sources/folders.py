"""Local folders of wheels: what is in them, by project."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from bundler.errors import FetchFailed, Problem
from bundler.files import sha256_of
from bundler.model.lock import Artifact
from bundler.store.cas import Store, key_of

_KIND = "folder-digest"


def wheels_in(folders: Iterable[Path], store: Store | None = None) -> dict[str, tuple[Artifact, ...]]:
    """Return the wheels in ``folders`` by normalised project, in the order of folders, then of names.

    With ``store``, digests of files that did not change are remembered there.

    Raises:
        FetchFailed: A folder is missing, or a ``.whl`` file has no wheel's name; ``problems`` lists all.
    """
    found: dict[str, list[Artifact]] = {}
    problems = []
    for folder in folders:
        if not folder.is_dir():
            problems.append(Problem(where=str(folder), what="is no directory"))
            continue
        for path in sorted(folder.glob("*.whl")):
            project = _project(path)
            if isinstance(project, Problem):
                problems.append(project)
            else:
                found.setdefault(project, []).append(_artifact(path, store))
    if problems:
        raise FetchFailed("the wheel folders cannot be used", problems=problems)
    return {project: tuple(artifacts) for project, artifacts in sorted(found.items())}


def _project(path: Path) -> str | Problem:
    try:
        return parse_wheel_filename(path.name)[0]
    except InvalidWheelFilename as error:
        return Problem(where=str(path), what=str(error), hint="rename or remove it")


def _artifact(path: Path, store: Store | None) -> Artifact:
    stamp = path.stat()
    url = path.resolve().as_uri()
    key = key_of(str(path.resolve()), stamp.st_size, stamp.st_mtime_ns, stamp.st_ino)
    known = store.recall(_KIND, key) if store else None
    digest = known if isinstance(known, str) else sha256_of(path)
    if store and known is None:
        store.remember(_KIND, key, digest)
    return Artifact(name=path.name, url=url, sha256=digest, size=stamp.st_size)

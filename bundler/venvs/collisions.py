"""Two layers of one venv never own the same path, unless it is the same file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bundler.errors import Problem
from bundler.store.cas import Store
from bundler.venvs.frame import Frame
from bundler.venvs.layers import Layer, SourceLayer, file_table

_FRAME = "the venv itself"


class Tables:
    """The file tables of layers, each read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, dict[str, str]] = {}

    def of(self, layer: SourceLayer) -> dict[str, str]:
        """Return path → digest of the files of a layer."""
        if layer.files not in self._known:
            self._known[layer.files] = file_table(self._store, layer)
        return self._known[layer.files]


def find_collisions(venv: str, layers: Sequence[Layer], frame: Frame, tables: Tables) -> list[Problem]:
    """Return one problem for each path that two owners want differently, or as a file and as a directory.

    Bytecode needs no look: it belongs to a source file, and where two packages have the same one, either fits.
    """
    owners: dict[str, tuple[str, str]] = dict.fromkeys(frame.paths, (_FRAME, ""))
    problems: list[Problem] = []
    for layer in layers:
        for path, digest in tables.of(layer.source).items():
            owner, known = owners.setdefault(path, (layer.package, digest))
            if known != digest:
                problems.append(_problem(venv, owner, layer.package, path, "have different files for"))
    return problems + list(_mixed(venv, owners))


def _mixed(venv: str, owners: dict[str, tuple[str, str]]) -> Iterator[Problem]:
    """Yield a problem for each path of one owner that is a directory of another."""
    directories: dict[str, str] = {}
    for path, (owner, _) in owners.items():
        end = path.rfind("/")
        while end > 0 and path[:end] not in directories:
            directories[path[:end]] = owner
            end = path.rfind("/", 0, end)
    for path in sorted(owners.keys() & directories.keys()):
        yield _problem(venv, owners[path][0], directories[path], path, "have a file and a directory for")


def _problem(venv: str, one: str, other: str, path: str, what: str) -> Problem:
    return Problem(where=venv, what=f"{one} and {other} {what} {path}")

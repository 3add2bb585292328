"""Fill the trees of venvs with layers, each unpacked once: what one venv has, the others hard-link.

    1 look whether a venv of before has the layer, untouched; else unpack it into one of the trees that want it
    2 compare files that two layers brought to one path of a tree at the same time
    3 link what lies in another tree

The listing of a layer comes from its own bytes, whose digest counts, not from what a venv happens to hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TypeAlias

from bundler.archive.extract import checked_path, pass_on_full
from bundler.archive.tar import TarEntry
from bundler.archive.untar import members
from bundler.deploy.venv_archive import Archive
from bundler.deploy.venv_tree import VenvTree, digest_of, open_tree
from bundler.errors import IntegrityError
from bundler.process import share_out

#: By directory, parents first, the names of the files in it.
_Files: TypeAlias = dict[str, list[str]]
#: So many files are linked in one go.
_GO = 1000


@dataclass(frozen=True, kw_only=True)
class Filling:
    """A tree to be filled with the layers of an archive."""

    archive: Archive
    tree: str


@dataclass(frozen=True, kw_only=True)
class PlacedLayer:
    """A layer whose files lie below ``tree``. ``new``: it was unpacked.

    ``doubtful``: SHA-256 by path of files that it has, but another layer wrote.
    """

    digest: str
    tree: str
    files: _Files
    new: bool = False
    doubtful: Mapping[str, str]


def fill(
    fillings: Sequence[Filling],
    venvs: Mapping[str, Sequence[str]],
    workers: int,
    aside: Callable[[], object] | None = None,
) -> frozenset[str]:
    """Put all layers into all trees; return the digests of those that a venv of before had.

    ``venvs``: by the digest of a layer the venvs that should have it. ``aside`` can be done while links are made: all
    new files are written then.

    Raises:
        IntegrityError: A layer is damaged, has what no layer has, or two of one venv differ in a file.
    """
    wanted = _wanted(fillings)
    with ExitStack() as stack:
        paths = {*(filling.tree for filling in fillings), *chain.from_iterable(venvs.values())}
        trees = {path: stack.enter_context(open_tree(path)) for path in sorted(paths)}

        def place(numbers: Iterator[int]) -> list[PlacedLayer]:
            return [_place(*wanted[number], venvs, trees) for number in numbers]

        def link(numbers: Iterator[int]) -> None:
            for number in numbers:
                tree, layers = goes[number]
                for layer in layers:
                    _link(layer, trees[layer.tree], trees[tree])

        # 1
        placed = {layer.digest: layer for part in share_out(len(wanted), place, workers) for layer in part}
        # 2
        for layer in placed.values():
            for path, digest in layer.doubtful.items():
                trees[layer.tree].expect(path, digest)
        # 3
        goes = _goes(fillings, placed)
        share_out(len(goes), link, workers, aside)
    return frozenset(digest for digest, layer in placed.items() if not layer.new)


def _wanted(fillings: Sequence[Filling]) -> list[tuple[Filling, int]]:
    """Return each layer once, by the tree that gets it and its place in the archive, the largest first."""
    found: dict[str, tuple[Filling, int]] = {}
    for filling in fillings:
        for place, digest in enumerate(filling.archive.layers):
            found.setdefault(digest, (filling, place))
    return sorted(found.values(), key=lambda one: -one[0].archive.sizes[one[1]])


def _place(
    filling: Filling, place: int, venvs: Mapping[str, Sequence[str]], trees: Mapping[str, VenvTree]
) -> PlacedLayer:
    digest = filling.archive.layers[place]
    if digest in venvs:
        files, sizes = _listing(digest, filling.archive.decoded(place))
        for venv in venvs[digest]:
            if all(trees[venv].untouched(path, size) for path, size in sizes.items()):
                return PlacedLayer(digest=digest, tree=venv, files=files, doubtful={})
    files, doubtful = _unpack(digest, filling.archive.decoded(place), trees[filling.tree])
    return PlacedLayer(digest=digest, tree=filling.tree, files=files, new=True, doubtful=doubtful)


def _listing(digest: str, pieces: Iterable[bytes]) -> tuple[_Files, dict[str, int]]:
    """Return the files of a layer, and the size of each by its path."""
    files: _Files = {}
    sizes = {}
    for entry, _ in _members(digest, pieces):
        _list(files, entry)
        if entry.kind == "file":
            sizes[entry.path] = entry.size
    return files, sizes


def _unpack(digest: str, pieces: Iterable[bytes], tree: VenvTree) -> tuple[_Files, dict[str, str]]:
    """Write a layer into a tree; return its files, and the SHA-256 of those whose path was taken."""
    files: _Files = {}
    doubtful = {}
    for entry, content in _members(digest, pieces):
        directory = _list(files, entry)
        try:
            tree.make_directory(directory)
            if entry.kind == "file" and not tree.write(entry.path, content, executable=entry.executable):
                doubtful[entry.path] = digest_of(content)
        except OSError as error:
            pass_on_full(error)
            raise IntegrityError(f"{entry.path!r} cannot be written: {error.strerror}") from error
    return files, doubtful


def _members(digest: str, pieces: Iterable[bytes]) -> Iterator[tuple[TarEntry, Iterator[bytes]]]:
    for entry, content in members(pieces):
        checked_path(entry.path)
        if entry.kind == "link":
            raise IntegrityError(f"layer {digest} has a symbolic link")
        yield entry, content


def _list(files: _Files, entry: TarEntry) -> str:
    """Note a member; return the directory that it is or is in."""
    if entry.kind == "directory":
        files.setdefault(entry.path, [])
        return entry.path
    directory, _, name = entry.path.rpartition("/")
    files.setdefault(directory, []).append(name)
    return directory


def _goes(fillings: Sequence[Filling], placed: Mapping[str, PlacedLayer]) -> list[tuple[str, list[PlacedLayer]]]:
    """Return what is to be linked into which tree, of all trees in turn: so no two are at one directory for long."""
    each = [list(_cut(filling, placed)) for filling in fillings]
    return [go for round_ in zip_longest(*each) for go in round_ if go is not None]


def _cut(filling: Filling, placed: Mapping[str, PlacedLayer]) -> Iterator[tuple[str, list[PlacedLayer]]]:
    go: list[PlacedLayer] = []
    count = 0
    for layer in map(placed.__getitem__, filling.archive.layers):
        if layer.tree == filling.tree:
            continue
        go.append(layer)
        count += sum(map(len, layer.files.values()))
        if count > _GO:
            yield filling.tree, go
            go, count = [], 0
    if go:
        yield filling.tree, go


def _link(layer: PlacedLayer, source: VenvTree, tree: VenvTree) -> None:
    for directory, names in layer.files.items():
        tree.make_directory(directory)
        prefix = f"{directory}/" if directory else ""
        for name in names:
            tree.link(prefix + name, source)

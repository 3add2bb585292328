"""Layers: the installed tree of one wheel as a tar segment in one zstd frame, made once and reused for ever.

A *source layer* has no trace of a Python version; a *bytecode layer* holds the .pyc files of one source layer for
one full Python version. Both are blobs; what is known of them is remembered in the store.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import zstandard

from bundler.archive.compress import LEVEL, compress_frame
from bundler.archive.tar import TarEntry, segment, segment_size, with_directories
from bundler.buildenv.interpreter import Interpreter
from bundler.model.lock import GitSource
from bundler.model.target import Python
from bundler.model.wheel import Wheel
from bundler.store.cas import Blob, Store, key_of
from bundler.venvs.bytecode import compile_sources, sources_of
from bundler.venvs.entry_points import EntryPoint
from bundler.venvs.layer_tree import SITE, LayerFile, LayerTree, lay_out
from bundler.venvs.spool import Spool

#: Raised when layers are made in another way: old ones are then made anew.
FORMAT = 2
_SHARED_LIBRARY = re.compile(r"\.so(\.[0-9]+)*$")


@dataclass(frozen=True, kw_only=True)
class SourceLayer:
    """What is known of a wheel's source layer.

    ``files`` is the digest of the blob that lists its files (see :func:`file_table`); ``scripts`` are the names in
    ``bin``; ``pth`` and ``native`` are paths below the venv's root; ``sources`` counts what can be compiled.
    """

    package: str
    version: str
    blob: Blob
    files: str
    dist_info: str
    entry_points: tuple[EntryPoint, ...]
    scripts: tuple[str, ...]
    pth: tuple[str, ...]
    native: tuple[str, ...]
    top_level: tuple[str, ...]
    sources: int

    @property
    def console_scripts(self) -> tuple[str, ...]:
        """Return the names of the scripts that are made from entry points, console and GUI."""
        return tuple(sorted({point.name for point in self.entry_points if point.is_script}))


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A package's share of a venv: its source layer and, if it has anything to compile, its bytecode layer."""

    source: SourceLayer
    bytecode: Blob | None = None
    reused: bool = False

    @property
    def package(self) -> str:
        """Return the normalised name of the package."""
        return self.source.package

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Return the blobs in the order of the archive."""
        return (self.source.blob,) if self.bytecode is None else (self.source.blob, self.bytecode)


def recall_layer(store: Store, wheel: Wheel, python: Python | None) -> Layer | None:
    """Return the layer if all of it is in the store; without ``python`` it has no bytecode."""
    source = _recall_source(store, wheel)
    if source is None:
        return None
    if python is None or not source.sources:
        return Layer(source=source, reused=True)
    known = store.recall("bytecode-layer", _bytecode_key(source, python))
    if known is None:
        return None
    bytecode = Blob(**known["blob"]) if known["blob"] else None
    if bytecode and not store.has(bytecode.digest):
        return None
    return Layer(source=source, bytecode=bytecode, reused=True)


def make_layer(store: Store, wheel: Wheel, interpreters: Sequence[Interpreter], pool: Executor) -> None:
    """Make and remember the source layer of ``wheel``, where it is missing, and its bytecode by ``interpreters``.

    ``pool`` runs the compilers, while this thread compresses.

    Raises:
        LayerError: The wheel cannot be made into a layer, or an interpreter does not fit.
    """
    with (
        store.workdir("layer") as work,
        contextlib.closing(Spool(work / "spool")) as spool,
        store.open(wheel.digest) as archive,
    ):
        tree = lay_out(archive, wheel.filename, wheel.name, _extra_metadata(wheel), spool)
        spool.flush()
        source = _recall_source(store, wheel) or _make_source(store, wheel, tree, spool)
        for interpreter in interpreters:
            compiled = compile_sources(tree.files, spool, interpreter, pool)
            blob = put_segment(store, compiled) if compiled else None
            value = {"blob": None if blob is None else vars(blob)}
            store.remember("bytecode-layer", _bytecode_key(source, interpreter.python), value)


def put_segment(store: Store, entries: Iterable[TarEntry]) -> Blob:
    """Store ``entries`` and the directories above them as one tar segment in one zstd frame."""
    members = with_directories(entries)
    return store.put(compress_frame(segment(members), segment_size(members)))


def file_table(store: Store, layer: SourceLayer) -> dict[str, str]:
    """Return the files of a source layer: path → a digest of content and mode."""
    with store.open(layer.files) as file:
        table: dict[str, str] = json.loads(file.read())
    return table


def _make_source(store: Store, wheel: Wheel, tree: LayerTree, spool: Spool) -> SourceLayer:
    blob = put_segment(store, (_entry(file, spool) for file in tree.files))
    table = {file.path: f"{file.content.sha256.hex()}{' x' if file.executable else ''}" for file in tree.files}
    source = SourceLayer(
        package=wheel.name,
        version=wheel.version,
        blob=blob,
        files=store.put(json.dumps(table, separators=(",", ":"), sort_keys=True).encode()).digest,
        dist_info=tree.dist_info,
        entry_points=tree.entry_points,
        **_facts(tree.files),
    )
    store.remember("source-layer", _source_key(wheel), _to_json(source))
    return source


def _entry(file: LayerFile, spool: Spool) -> TarEntry:
    content = file.content
    return TarEntry(
        path=file.path,
        size=content.size,
        executable=file.executable,
        read=spool.reader(content.offset, content.size),
    )


def _facts(files: Sequence[LayerFile]) -> dict[str, Any]:
    """Return what a reviewer asks of a wheel's files."""
    inside = f"{SITE}/"
    top = {file.path[len(inside) :].partition("/")[0] for file in files if file.path.startswith(inside)}
    return {
        "scripts": tuple(file.path[len("bin/") :] for file in files if file.path.startswith("bin/")),
        "pth": tuple(f"{inside}{name}" for name in sorted(top) if name.endswith(".pth")),
        "native": tuple(f.path for f in files if f.content.native or _SHARED_LIBRARY.search(f.path)),
        "top_level": tuple(sorted(name for name in top if not name.endswith((".dist-info", ".pth")))),
        "sources": len(sources_of(files)),
    }


def _extra_metadata(wheel: Wheel) -> Mapping[str, bytes]:
    """Return ``direct_url.json`` for what was built from git (PEP 610)."""
    if not isinstance(wheel.origin, GitSource):
        return {}
    origin = wheel.origin
    vcs = {"vcs": "git", "commit_id": origin.commit, "requested_revision": origin.requested_revision}
    data: dict[str, Any] = {"url": origin.url, "vcs_info": {key: value for key, value in vcs.items() if value}}
    if origin.subdirectory:
        data["subdirectory"] = origin.subdirectory
    return {"direct_url.json": json.dumps(data, sort_keys=True).encode()}


def _source_key(wheel: Wheel) -> str:
    metadata = {name: data.decode() for name, data in _extra_metadata(wheel).items()}
    return key_of("source-layer", FORMAT, zstandard.ZSTD_VERSION, LEVEL, wheel.digest, wheel.filename, metadata)


def _bytecode_key(source: SourceLayer, python: Python) -> str:
    return key_of("bytecode-layer", FORMAT, zstandard.ZSTD_VERSION, LEVEL, source.blob.digest, python.full_version)


def _recall_source(store: Store, wheel: Wheel) -> SourceLayer | None:
    known = store.recall("source-layer", _source_key(wheel))
    if known is None or not store.has(known["blob"]["digest"]) or not store.has(known["files"]):
        return None
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in known.items()}
    values["blob"] = Blob(**known["blob"])
    values["entry_points"] = tuple(EntryPoint(group=g, name=n, value=v) for g, n, v in known["entry_points"])
    return SourceLayer(**values)


def _to_json(source: SourceLayer) -> dict[str, Any]:
    points = [(point.group, point.name, point.value) for point in source.entry_points]
    return {**vars(source), "blob": vars(source.blob), "entry_points": points}

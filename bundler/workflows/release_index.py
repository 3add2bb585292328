"""The package indexes of a release: static files and links beside its wheels, for hosts that run nothing of ours.

os-releases/<release>/<target>/wheels/<wheel>.metadata, index.html
os-releases/<release>/<target>/simple/            PEP 503 and PEP 691; _wheels leads to ../wheels
os-releases/<release>/simple/                     the same over all targets, wheels for any such system only;
                                                  _<target> leads to a target's wheels, _common holds shared ones
simple/<target>, simple/all                       links to these two
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from packaging.metadata import parse_email
from packaging.version import Version

from bundler.model.contents import FileEntry, LinkEntry
from bundler.model.simple_index import (
    INDEX_HTML,
    METADATA_SUFFIX,
    IndexedWheel,
    Place,
    index_pages,
    is_portable,
    wheels_html,
)
from bundler.model.wheel import Wheel, WheelSet
from bundler.store.cas import Blob, Store
from bundler.workflows.evidence import metadata_of
from bundler.workflows.release_files import single

#: Directories and links of an index that are no projects: no normalised name begins so.
_OWN, _COMMON = "_wheels", "_common"
_KIND = "index-metadata"
_AT_ONCE = 8


class _Text(NamedTuple):
    """A file of an index: its path, its bytes, the targets that have it."""

    path: str
    data: bytes
    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Carried:
    """A wheel of some targets: where its METADATA is, and what indexes say of it."""

    wheel: IndexedWheel
    metadata: Blob
    targets: tuple[str, ...]


def index_entries(
    sets: Sequence[WheelSet], root: str, store: Store
) -> tuple[tuple[FileEntry, ...], tuple[LinkEntry, ...]]:
    """Return the files and links of all indexes; their texts are put into the store here.

    ``root`` is the release's directory below the root of a repo host.
    """
    targets = sorted({one.target for one in sets})
    carried = _carried(sets, store)
    texts: list[_Text] = []
    files: list[FileEntry] = []
    links: list[LinkEntry] = []
    for target in targets:
        mine = [one for one in carried if target in one.targets]
        base = f"{root}/{target}"
        files += [_metadata_file(f"{base}/wheels", one, (target,)) for one in mine]
        page = wheels_html("Wheels", [Place(wheel=one.wheel, folder="") for one in mine])
        texts.append(_Text(f"{base}/wheels/{INDEX_HTML}", page, (target,)))
        pages = index_pages(Place(wheel=one.wheel, folder=f"../{_OWN}") for one in mine)
        texts += [_Text(f"{base}/simple/{path}", data, (target,)) for path, data in pages.items()]
        links.append(_link(f"{base}/simple/{_OWN}", "../wheels", (target,)))
        links.append(_link(f"simple/{target}", f"../{base}/simple", (target,)))
    every = tuple(targets)
    places, more_files, more_links = _together(carried, f"{root}/simple")
    texts += [_Text(f"{root}/simple/{path}", data, every) for path, data in index_pages(places).items()]
    links += [*more_links, _link("simple/all", f"../{root}/simple", every)]
    return (*files, *more_files, *_stored(texts, store)), tuple(links)


def _stored(texts: Iterable[_Text], store: Store) -> tuple[FileEntry, ...]:
    """Put texts into the store, many at a time: each of them waits for the disk."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="index") as pool:
        return tuple(pool.map(lambda one: single(one.path, store.put(one.data), one.targets), texts))


def _carried(sets: Iterable[WheelSet], store: Store) -> tuple[_Carried, ...]:
    """Return each wheel once, with all targets that have it, sorted by name of the file."""
    wheels: dict[tuple[str, str], tuple[Wheel, str]] = {}
    targets: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in sets:
        for wheel, package in zip(one.wheels, one.packages, strict=True):
            key = (wheel.filename, wheel.digest)
            wheels[key] = (wheel, package.yanked)
            targets[key].add(one.target)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="index") as pool:
        return tuple(
            pool.map(lambda key: _describe(*wheels[key], tuple(sorted(targets[key])), store), sorted(wheels))
        )


def _describe(wheel: Wheel, yanked: str, targets: tuple[str, ...], store: Store) -> _Carried:
    metadata, requires_python = _metadata(wheel, store)
    indexed = IndexedWheel(
        name=wheel.name,
        version=str(Version(wheel.version)),
        filename=wheel.filename,
        size=wheel.size,
        sha256=wheel.digest,
        metadata=metadata.digest,
        requires_python=requires_python,
        yanked=yanked,
    )
    return _Carried(wheel=indexed, metadata=metadata, targets=targets)


def _metadata(wheel: Wheel, store: Store) -> tuple[Blob, str]:
    """Return METADATA of a wheel as a blob, and which Pythons it is for; a wheel is opened for it once."""
    known = store.recall(_KIND, wheel.digest)
    if known is not None and store.has(known["sha256"]):
        return Blob(digest=known["sha256"], size=store.size(known["sha256"])), known["requires_python"]
    data = metadata_of(wheel, store)
    requires_python = parse_email(data)[0].get("requires_python", "")
    blob = store.put(data)
    store.remember(_KIND, wheel.digest, {"sha256": blob.digest, "requires_python": requires_python})
    return blob, requires_python


def _metadata_file(base: str, one: _Carried, targets: tuple[str, ...]) -> FileEntry:
    return single(f"{base}/{one.wheel.filename}{METADATA_SUFFIX}", one.metadata, targets)


def _together(carried: Sequence[_Carried], base: str) -> tuple[list[Place], list[FileEntry], list[LinkEntry]]:
    """Return the index over all targets: places of wheels, and the files and links that these lead to.

    A host may hold some of the targets only: what several of them share lies in a directory of its own.
    """
    places: list[Place] = []
    files: list[FileEntry] = []
    alone: set[str] = set()
    for one in _portable(carried):
        if len(one.targets) == 1:
            alone.add(one.targets[0])
            places.append(Place(wheel=one.wheel, folder=f"../_{one.targets[0]}"))
            continue
        places.append(Place(wheel=one.wheel, folder=f"../{_COMMON}"))
        path = f"{base}/{_COMMON}/{one.wheel.filename}"
        files.append(single(path, Blob(digest=one.wheel.sha256, size=one.wheel.size), one.targets))
        files.append(_metadata_file(f"{base}/{_COMMON}", one, one.targets))
    return places, files, [_link(f"{base}/_{name}", f"../{name}/wheels", (name,)) for name in sorted(alone)]


def _portable(carried: Iterable[_Carried]) -> Iterator[_Carried]:
    """Yield one wheel of each name that more systems than its target can use: the one that most targets have."""
    found: dict[str, _Carried] = {}
    for one in carried:
        name = one.wheel.filename
        if is_portable(name) and (name not in found or len(one.targets) > len(found[name].targets)):
            found[name] = one
    yield from found.values()


def _link(path: str, to: str, targets: tuple[str, ...]) -> LinkEntry:
    return LinkEntry(path=path, to=to, targets=targets)

"""Take files of a repo host out of a bundle, straight from its volumes, each byte checked before it is handed out."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.bundle.reader import Bundle, open_bundle
from bundler.clock import stopwatch
from bundler.errors import IntegrityError, UsageError
from bundler.events import Emit, ItemFinished, ItemStarted, StageAdvanced, StageFinished, StageStarted, ignore
from bundler.files import write
from bundler.model.contents import Contents, FileEntry

_STAGE = "extract"
_WILD = re.compile(r"[*?\[]")
#: A link that leads over more links than this is refused.
_MAX_LINKS = 8


@dataclass(frozen=True, kw_only=True)
class ExtractRequest:
    """The bundle; a file, directory or glob of a repo host; where to write (empty: the current directory)."""

    bundle: Path
    path: str
    out: str = ""


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """A file that was written."""

    path: str
    out: Path
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class OpenedFile:
    """A file of a bundle and its bytes, to be taken once; IntegrityError comes at the piece that is damaged."""

    entry: FileEntry
    pieces: Iterator[bytes]


@dataclass(frozen=True, kw_only=True)
class Match:
    """A file that was asked for, and the path it gets below the chosen directory."""

    entry: FileEntry
    below: str


@contextlib.contextmanager
def open_file(bundle: Path, path: str) -> Iterator[OpenedFile]:
    """Open one file of a repo host for reading.

    Raises:
        UsageError: There is none, or ``path`` names several.
        BundleError: The bundle is damaged.
    """
    with open_bundle(bundle) as opened:
        matches = find_files(opened.contents, path)
        if len(matches) > 1:
            raise UsageError(f"{path!r} is {len(matches)} files", hint="bundle-build extract writes several")
        yield OpenedFile(entry=matches[0].entry, pieces=_checked(opened, matches[0].entry))


def extract(request: ExtractRequest, emit: Emit = ignore) -> tuple[Extracted, ...]:
    """Write what was asked for and return it. A file appears whole and right, or not at all.

    One file goes to ``out``, or into it where it is a directory or ends with ``/``; a directory's files go below
    ``out``; a glob's below ``out`` too, from its first part with a wildcard on.

    Raises:
        UsageError: Nothing matches.
        IntegrityError: A blob is damaged; files before it were written.
    """
    started = stopwatch()
    with open_bundle(request.bundle) as bundle:
        matches = find_files(bundle.contents, request.path)
        total = sum(match.entry.size for match in matches)
        emit(StageStarted(stage=_STAGE, total=total, unit="bytes"))
        written = [_extract(bundle, match.entry, place, emit) for match, place in _places(request, matches)]
    emit(StageFinished(stage=_STAGE, seconds=stopwatch() - started, items=len(written), size=total))
    return tuple(written)


def find_files(contents: Contents, path: str) -> tuple[Match, ...]:
    """Return the files that ``path`` names: one file or link, all below a directory, or all that match a glob.

    In a glob ``*`` stays inside one part of a path, ``**`` stands for any number of parts.

    Raises:
        UsageError: There are none; the hint offers the nearest names.
    """
    names = _Names(contents)
    asked, path = path, names.through(path)
    single = names.entry(path)
    if single is not None:
        return (Match(entry=single, below=""),)
    plain = path.rstrip("/")
    base = _fixed(plain) if _WILD.search(plain) else plain
    found = [(name, names.entry(name)) for name in names.sorted() if _matches(name, plain)]
    matches = tuple(
        Match(entry=entry, below=posixpath.relpath(name, base or ".")) for name, entry in found if entry is not None
    )
    if not matches:
        raise UsageError(f"the bundle has no file {asked!r}", hint=_nearest(asked, names.sorted()))
    return matches


class _Names:
    """The files and links of a repo host by path."""

    def __init__(self, contents: Contents) -> None:
        self._files = {file.path: file for file in contents.files}
        self._links = {link.path: link.to for link in contents.links}

    def sorted(self) -> list[str]:
        """Return all paths in order."""
        return sorted({*self._files, *self._links})

    def through(self, path: str) -> str:
        """Return ``path`` with every link to a directory, that it begins with, followed."""
        for _ in range(_MAX_LINKS):
            link = next((one for one in self._links if path.startswith(f"{one}/") or path == one), "")
            if not link or self.entry(link) is not None:
                break
            to = posixpath.normpath(posixpath.join(posixpath.dirname(link), self._links[link]))
            path = to + path[len(link) :]
        return path

    def entry(self, path: str) -> FileEntry | None:
        """Return the file at ``path``, through links, or None where it leads to none."""
        for _ in range(_MAX_LINKS):
            if path not in self._links:
                break
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), self._links[path]))
        return self._files.get(path)


def _fixed(pattern: str) -> str:
    """Return the directory that a glob begins with: its parts before the first wildcard."""
    parts = pattern.split("/")
    first = next(index for index, part in enumerate(parts) if _WILD.search(part))
    return "/".join(parts[:first])


def _matches(name: str, pattern: str) -> bool:
    if _WILD.search(pattern):
        return _matches_parts(name.split("/"), pattern.split("/"))
    return not pattern or name.startswith(pattern + "/")


def _matches_parts(name: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(_matches_parts(name[start:], pattern[1:]) for start in range(len(name) + 1))
    return bool(name) and fnmatch.fnmatchcase(name[0], pattern[0]) and _matches_parts(name[1:], pattern[1:])


def _nearest(path: str, names: Sequence[str]) -> str:
    """Return a hint: names that end or begin like ``path``, or whose last part is nearly the same."""
    ends = [name for name in names if name.endswith("/" + path.lstrip("/"))]
    by_last = {name.rpartition("/")[2]: name for name in names}
    last = difflib.get_close_matches(path.rpartition("/")[2], by_last, n=3, cutoff=0.6)
    offered = list(dict.fromkeys([*ends, *(by_last[one] for one in last)]))[:3]
    return f"did you mean {' or '.join(offered)}?" if offered else "bundle-build diff --files lists names"


def _places(request: ExtractRequest, matches: Sequence[Match]) -> list[tuple[Match, Path]]:
    out = Path(request.out)
    if not matches[0].below:
        name = request.path.rpartition("/")[2]
        into = out if request.out.endswith("/") or out.is_dir() else None
        return [(matches[0], into / name if into else out)]
    if not request.out and not _WILD.search(request.path):
        out = Path(request.path.rstrip("/").rpartition("/")[2])
    if out.exists() and not out.is_dir():
        raise UsageError(
            f"{out} is no directory, and {len(matches)} files were asked for", hint="choose another --out"
        )
    return [(match, out / match.below) for match in matches]


def _extract(bundle: Bundle, entry: FileEntry, out: Path, emit: Emit) -> Extracted:
    if out.is_dir():
        raise UsageError(f"{out} is a directory", hint="choose another --out")
    emit(ItemStarted(stage=_STAGE, item=out.name))
    write(out, _told(_checked(bundle, entry), emit), mode=entry.mode)
    emit(ItemFinished(stage=_STAGE, item=out.name))
    return Extracted(path=entry.path, out=out, size=entry.size, sha256=entry.sha256)


def _told(pieces: Iterator[bytes], emit: Emit) -> Iterator[bytes]:
    for piece in pieces:
        emit(StageAdvanced(stage=_STAGE, amount=len(piece)))
        yield piece


def _checked(bundle: Bundle, entry: FileEntry) -> Iterator[bytes]:
    """Yield the file's bytes; damage is told with the file and the volumes that it lies in."""
    try:
        yield from bundle.stream_file(entry.path)
    except IntegrityError as error:
        volumes = sorted({bundle.place(digest)[0].name for digest in entry.blobs})
        raise IntegrityError(
            f"{entry.path}, which lies in {', '.join(volumes)}: {error.message}", hint=error.hint
        ) from error

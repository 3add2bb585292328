"""The tree that a wheel's files form in a venv, gathered in a spool while PyPA ``installer`` walks the wheel.

``installer`` decides which file of the wheel belongs to which scheme and what is executable; where a scheme lies
in the archive, what a script looks like and what RECORD says is decided here.
"""

from __future__ import annotations

import base64
import configparser
import csv
import functools
import io
import itertools
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

import installer
from installer.destinations import WheelDestination
from installer.exceptions import InstallerError
from installer.records import RecordEntry
from installer.sources import WheelFile
from installer.utils import Scheme

from bundler.errors import LayerError
from bundler.venvs import scripts
from bundler.venvs.entry_points import EntryPoint, parse_entry_points
from bundler.venvs.spool import Slice, Spool, pieces

SITE = "lib/py/site-packages"
INSTALLER = b"bundle-build\n"
#: What the wheel's reader raises for a damaged or malformed wheel.
_DAMAGE = (
    InstallerError,
    configparser.Error,
    zipfile.BadZipFile,
    zlib.error,
    AssertionError,
    EOFError,
    KeyError,
    NotImplementedError,
    UnicodeError,
    ValueError,
)
_VERSIONED = re.compile(r"(lib|include/site)/python3\.[0-9]+/(.+)")


@dataclass(frozen=True, kw_only=True)
class LayerFile:
    """A regular file of a layer: its path below the venv's root and its slice of the spool."""

    path: str
    content: Slice
    executable: bool


@dataclass(frozen=True, kw_only=True)
class LayerTree:
    """All files of a wheel as they will be in a venv, sorted by path."""

    files: tuple[LayerFile, ...]
    dist_info: str
    entry_points: tuple[EntryPoint, ...]


def layer_path(scheme: str, path: str, package: str) -> str:
    """Return where a wheel's file lies below the venv's root, whatever the Python.

    Raises:
        LayerError: The path leaves the place of its scheme.
    """
    if path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise LayerError(f"{package}: the path {path!r} leaves its directory")
    if scheme == "scripts":
        return f"bin/{path}"
    if scheme == "headers":
        return f"include/site/py/{package}/{path}"
    if scheme != "data":
        return f"{SITE}/{path}"
    if path.startswith("lib64/"):
        path = f"lib/{path[len('lib64/') :]}"
    match = _VERSIONED.fullmatch(path)
    return f"{match[1]}/py/{match[2]}" if match else path


def lay_out(archive: IO[bytes], filename: str, package: str, extra: Mapping[str, bytes], spool: Spool) -> LayerTree:
    """Gather the files of a wheel in ``spool``; ``extra`` goes into its ``.dist-info`` beside INSTALLER.

    Raises:
        LayerError: The wheel cannot be installed, with the reason.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            source = _Source(opened, filename)
            points: tuple[EntryPoint, ...] = ()
            if "entry_points.txt" in source.dist_info_filenames:
                points = parse_entry_points(source.read_dist_info("entry_points.txt"), filename)
            tree = _Tree(package, spool)
            installer.install(source, tree, {"INSTALLER": INSTALLER, **extra})
            return LayerTree(files=tree.sorted(), dist_info=source.dist_info_dir, entry_points=points)
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise LayerError(f"{filename} cannot be installed: {reason}", hint="is the wheel complete?") from error


class _Source(WheelFile):
    """A wheel that is named by us, because blobs have no file names, and that holds no bytecode."""

    def __init__(self, archive: zipfile.ZipFile, filename: str) -> None:
        archive.filename = filename
        super().__init__(archive)

    @functools.cached_property
    def data_dir(self) -> str:
        """Return the ``.data`` directory as the wheel spells it, which need not be the file name's spelling."""
        tops = {name.partition("/")[0] for name in self._zipfile.namelist()}
        found = sorted(top for top in tops if top.endswith(".data"))
        return found[0] if len(found) == 1 else super().data_dir

    def get_contents(self) -> Iterator[Any]:
        """Yield all members but ``__pycache__`` and, as pip does, RECORD's detached signatures."""
        dropped = {f"{self.dist_info_dir}/RECORD.{kind}" for kind in ("jws", "p7s")}
        for member in super().get_contents():
            path: str = member[0][0]
            if "__pycache__" not in path.split("/")[:-1] and path not in dropped:
                yield member


class _Tree(WheelDestination):
    """Where ``installer`` puts the files."""

    def __init__(self, package: str, spool: Spool) -> None:
        self._package = package
        self._spool = spool
        self._files: dict[str, LayerFile] = {}
        self._generated: set[str] = set()

    def write_script(self, name: str, module: str, attr: str, section: str) -> RecordEntry:
        """Add the script of an entry point; console and GUI scripts are the same on POSIX."""
        del section
        path = layer_path("scripts", name, self._package)
        self._generated.add(path)
        self._add(path, (scripts.entry_point_script(module, attr),), executable=True)
        return RecordEntry(path, None, None)

    def write_file(self, scheme: Scheme, path: Any, stream: BinaryIO, is_executable: bool) -> RecordEntry:
        """Add a file of the wheel; a script that an entry point makes too is left out, as pip does."""
        full = layer_path(scheme, str(path), self._package)
        if scheme == "scripts" and full not in self._generated:
            self._add_script(str(path), stream)
        elif scheme != "scripts":
            self._add(full, pieces(stream), executable=is_executable)
        return RecordEntry(full, None, None)

    def _add_script(self, path: str, stream: BinaryIO) -> None:
        head = stream.read(len(scripts.MARK))
        if head != scripts.MARK:
            self._add(f"bin/{path}", itertools.chain((head,), pieces(stream)), executable=True)
            return
        data = head + stream.read(scripts.MAX_SCRIPT)
        if stream.read(1):
            raise LayerError(f"{self._package}: the script {path!r} has more than {scripts.MAX_SCRIPT} bytes")
        folder, name = posixpath.split(path)
        for part, content in scripts.data_script(name, data).items():
            self._add(posixpath.join("bin", folder, part), (content,), executable=not part.startswith("."))

    def _add(self, path: str, content: Iterable[bytes], *, executable: bool) -> None:
        file = LayerFile(path=path, content=self._spool.append(content), executable=executable)
        known = self._files.setdefault(path, file)
        if known.content.sha256 != file.content.sha256:
            raise LayerError(f"{self._package} has two different files for {path!r}")

    def finalize_installation(self, scheme: Scheme, record_file_path: str, records: Iterable[Any]) -> None:
        """Write RECORD over the files as they are in the archive (not their bytecode: pip and uv look for it)."""
        del records  # they lack the files that we add
        place = layer_path(scheme, record_file_path, self._package)
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows(sorted([*(_row(file) for file in self._files.values()), (_from_site(place), "", "")]))
        self._add(place, (text.getvalue().encode(),), executable=False)

    def sorted(self) -> tuple[LayerFile, ...]:
        """Return the files by path.

        Raises:
            LayerError: A path is both a file and a directory.
        """
        parents = {path[:end] for path in self._files for end, char in enumerate(path) if char == "/"}
        both = sorted(parents & self._files.keys())
        if both:
            raise LayerError(f"{self._package}: {both[0]!r} is a file and a directory")
        return tuple(self._files[path] for path in sorted(self._files))


def _row(file: LayerFile) -> tuple[str, str, str]:
    digest = base64.urlsafe_b64encode(file.content.sha256).decode().rstrip("=")
    return _from_site(file.path), f"sha256={digest}", str(file.content.size)


def _from_site(path: str) -> str:
    """Return ``path`` as RECORD writes it, relative to site-packages."""
    inside = f"{SITE}/"
    return path[len(inside) :] if path.startswith(inside) else posixpath.relpath(path, SITE)

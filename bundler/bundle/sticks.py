"""One medium over several: a bundle whose volumes are spread over sticks, given together or one after the other.

Each stick carries the same ``SHA256SUMS`` and the same signatures; the rest may lie on any of them. A file that is
on two comes from the first. Sticks that are asked for one after the other may need the same port: those before are
let go.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TypeAlias

from bundler.bundle.driver import read_signatures
from bundler.bundle.layout import BUNDLE_JSON, SUMS
from bundler.bundle.medium import Medium, open_medium, read_bounded
from bundler.errors import FileMissing, IntegrityError, Problem, UsageError
from bundler.model.contents import MAX_SUMS

#: Gets the exact names that are still missing; returns where the next medium is, or None if there is no more.
Ask: TypeAlias = Callable[[tuple[str, ...]], "Path | None"]
_TRUST = "trust-"


class Sticks:
    """The media that are there at the moment, as one. Threads may share it while none is added."""

    def __init__(self, paths: Sequence[Path], ask: Ask | None = None) -> None:
        self._ask = ask
        self._open = ExitStack()
        self._media: list[Medium] = []
        #: Where each name is found first. Looked up once: threads that list one directory disturb each other.
        self._holders: dict[str, Medium] = {}
        self._name = ""
        self._signed: dict[str, bytes] = {}
        try:
            for path in paths:
                self._add(path)
        except BaseException:
            self._open.close()
            raise

    @property
    def label(self) -> str:
        """Return what messages call it."""
        return ", ".join(medium.label for medium in self._media)

    def names(self) -> tuple[str, ...]:
        """Return the names on all media, sorted."""
        return tuple(sorted(self._holders))

    def size(self, name: str) -> int:
        """Return a regular file's size in bytes."""
        return len(self._signed[name]) if name in self._signed else self._holder(name).size(name)

    def open(self, name: str) -> IO[bytes]:
        """Open a regular file for reading; the caller closes it.

        Raises:
            FileMissing: None of the media has it.
            FileIrregular: It is something else.
        """
        # List and signatures were read once, to compare them; those bytes count.
        return io.BytesIO(self._signed[name]) if name in self._signed else self._holder(name).open(name)

    @property
    def can_ask(self) -> bool:
        """Return whether further media may come."""
        return self._ask is not None

    def more(self, missing: tuple[str, ...]) -> bool:
        """Let the media go and ask for the next one; return whether one came.

        Raises:
            IntegrityError: It carries a part of another bundle.
            UsageError: It carries no bundle.
        """
        if self._ask is None:
            return False
        # Nothing of them is needed any more, and they could not be unmounted while we hold them.
        self._open.close()
        self._media.clear()
        self._holders.clear()
        path = self._ask(missing)
        if path is not None:
            self._add(path)
        return path is not None

    def close(self) -> None:
        """Let all media go."""
        self._open.close()

    def _holder(self, name: str) -> Medium:
        if name not in self._holders:
            raise FileMissing(f"{name} is missing", hint="copy the bundle anew: all files belong together")
        return self._holders[name]

    def _add(self, path: Path) -> None:
        found = find_bundle(path, self._name)
        self._name = self._name or found.name
        medium = self._open.enter_context(open_medium(found))
        signed = {SUMS: read_bounded(medium, SUMS, MAX_SUMS), **read_signatures(medium)}
        self._signed = self._signed or signed
        if signed != self._signed:
            different = sorted(
                name for name in {*signed, *self._signed} if signed.get(name) != self._signed.get(name)
            )
            raise IntegrityError(
                f"{found} is not a part of the bundle on the medium before it: its {different[0]} differs",
                hint="all media of a bundle carry the same SHA256SUMS and signatures",
                problems=[Problem(where=name, what="differs") for name in different],
            )
        self._media.append(medium)
        self._holders = {**dict.fromkeys(medium.names(), medium), **self._holders}


@contextlib.contextmanager
def open_media(paths: Sequence[Path], ask: Ask | None = None) -> Iterator[Sticks]:
    """Open a bundle that lies on one or more media: each its directory, a tar of it, or the directory above.

    Raises:
        UsageError: There is no bundle, or more than one.
        IntegrityError: The media carry parts of different bundles.
    """
    sticks = Sticks(paths, ask)
    try:
        yield sticks
    finally:
        sticks.close()


def find_bundle(path: Path, name: str = "") -> Path:
    """Return where the bundle is: ``path`` itself, or the only one directly in it, or the one there called ``name``.

    Raises:
        UsageError: There is none, or which one is not clear.
    """
    if path.is_file() or _is_bundle(path):
        return path
    if not path.is_dir():
        raise UsageError(f"there is nothing at {path}, or it is neither a bundle's directory nor a .tar of one")
    with _listing(path):
        found = sorted(entry for entry in path.iterdir() if _is_candidate(entry))
    named = [entry for entry in found if entry.name == name]
    if len(named or found) == 1:
        return (named or found)[0]
    if not found:
        raise UsageError(f"there is no bundle in {path}", hint="give its directory, or a .tar of it")
    raise UsageError(
        f"{path} holds {len(found)} bundles: {', '.join(entry.name for entry in found)}",
        hint=f"name one, for example {found[0]}",
        problems=[Problem(where=str(entry), what="is a bundle") for entry in found],
    )


@contextlib.contextmanager
def _listing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot look into {path}: {error.strerror or error}") from error


def _is_candidate(entry: Path) -> bool:
    if entry.is_symlink() or entry.name.startswith(_TRUST):
        return False
    return _is_bundle(entry) or (entry.suffix == ".tar" and entry.is_file())


def _is_bundle(path: Path) -> bool:
    """Return whether a directory has one of the two names that only a bundle has; what they are is seen later."""
    return any((path / name).is_symlink() or (path / name).exists() for name in (SUMS, BUNDLE_JSON))

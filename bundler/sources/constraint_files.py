"""Read constraint layers from where the manifest says: a file, an address, a git repository, or its own lines."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from bundler.errors import BundlerError, ConstraintError, Problem, SignatureRefused
from bundler.model.constraints import Layer, scan_layer
from bundler.model.lock import LayerRecord
from bundler.model.manifest import ConstraintLayer, Manifest
from bundler.model.plan import effective_layers
from bundler.signing.documents import SUFFIX
from bundler.sources.credentials import redact_text, redact_url
from bundler.sources.signed_layers import check_layer

#: More than this is no constraints file.
MOST_BYTES = 4 << 20
#: What the lock says of layers that stand in the manifest itself.
OWN_LINES = "manifest"
#: The group of venvs that have just the release's layers.
RELEASE = "release"

#: Return what is at an address.
Fetch: TypeAlias = Callable[[str], bytes]
#: Return the commit that a revision names, and the content of a file there: (url, revision, path).
ReadGit: TypeAlias = Callable[[str, str, str], tuple[str, bytes]]
_Read: TypeAlias = tuple[Layer, LayerRecord]


@dataclass(frozen=True, kw_only=True)
class LayerGroup:
    """Venvs with the same constraint layers, which are resolved together."""

    name: str
    venvs: tuple[str, ...]
    layers: tuple[ConstraintLayer, ...]


@dataclass(kw_only=True)
class LayerReader:
    """Read each layer once; ``problems`` collects what is wrong with any of them."""

    root: Path
    fetch: Fetch
    read_git: ReadGit
    problems: list[Problem] = field(default_factory=list)
    _known: dict[ConstraintLayer, _Read | None] = field(default_factory=dict)
    _texts: dict[ConstraintLayer, str] = field(default_factory=dict)

    def text_of(self, layer: ConstraintLayer) -> str:
        """Return what a layer that was read says, as it was written; nothing of one that could not be had."""
        text = self._texts.get(layer, "")
        return f"{text}\n" if text and layer.lines is not None else text

    def read(self, layers: Sequence[ConstraintLayer]) -> tuple[_Read, ...]:
        """Return those of ``layers`` that can be had, with what the lock records of each."""
        for layer in layers:
            if layer not in self._known:
                self._known[layer] = self._one(layer)
        return tuple(found for layer in layers if (found := self._known[layer]) is not None)

    def _one(self, layer: ConstraintLayer) -> _Read | None:
        where = f"constraint layer {layer.name}"
        try:
            location, shown, data = self._content(layer)
            check_layer(layer, data, self.root, lambda: self._signature(layer, location))
        except BundlerError as error:
            had = "" if isinstance(error, SignatureRefused) else "cannot be had: "
            what = f"{had}{redact_text(error.message)}"
            self.problems.append(Problem(where=where, what=what, hint=error.hint))
            self.problems.extend(error.problems)
            return None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            what = f"cannot read {layer.file or redact_url(layer.url or '')}: {reason}"
            self.problems.append(Problem(where=where, what=what, hint="paths are relative to the manifest"))
            return None
        text = self._decode(data, where, location)
        if text is None:
            return None
        self._texts[layer] = text
        parsed, problems = scan_layer(layer.name, text, shown)
        self.problems.extend(problems)
        digest = hashlib.sha256(data).hexdigest()
        return parsed, LayerRecord(name=layer.name, location=location, sha256=digest)

    def _content(self, layer: ConstraintLayer) -> tuple[str, str, bytes]:
        """Return what the lock calls the place, what messages call it, and what is there."""
        if layer.file is not None:
            return layer.file, layer.file, _read_file(self.root / layer.file)
        if layer.url is not None:
            place = redact_url(layer.url)
            return place, place, self.fetch(layer.url)
        if layer.git is not None:
            commit, data = self.read_git(layer.git.url, layer.git.revision, layer.git.path)
            repository = redact_url(layer.git.url)
            return f"{repository}@{commit}:{layer.git.path}", f"{repository}@{commit[:12]}:{layer.git.path}", data
        return OWN_LINES, f"manifest layer {layer.name}", "\n".join(layer.lines or ()).encode()

    def _signature(self, layer: ConstraintLayer, location: str) -> bytes:
        """Return what is beside a layer's file, in git at the very same commit."""
        if layer.url is not None:
            return self.fetch(layer.url + SUFFIX)
        if layer.git is not None:
            commit = location.removesuffix(f":{layer.git.path}").rpartition("@")[2]
            return self.read_git(layer.git.url, commit, layer.git.path + SUFFIX)[1]
        return _read_file(self.root / f"{layer.file}{SUFFIX}")

    def _decode(self, data: bytes, where: str, location: str) -> str | None:
        if len(data) > MOST_BYTES:
            what = f"{location} is larger than {MOST_BYTES >> 20} MiB"
            self.problems.append(Problem(where=where, what=what, hint="name a constraints file"))
            return None
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self.problems.append(Problem(where=f"{location}:{line}", what="is not UTF-8 text"))
            return None


def read_layers(
    layers: Sequence[ConstraintLayer], *, root: Path, fetch: Fetch, read_git: ReadGit
) -> tuple[list[Layer], list[LayerRecord]]:
    """Return the layers, highest first, and what the lock records of each.

    Raises:
        ConstraintError: Layers that cannot be had, lines that do not parse, contradictions: all of them.
    """
    reader = LayerReader(root=root, fetch=fetch, read_git=read_git)
    found = reader.read(layers)
    refuse(reader.problems)
    return [layer for layer, _ in found], [record for _, record in found]


def refuse(problems: Sequence[Problem]) -> None:
    """Raise the one error that names all ``problems``; do nothing where there are none."""
    if problems:
        unique = tuple(dict.fromkeys(problems))
        count = "1 problem" if len(unique) == 1 else f"{len(unique)} problems"
        raise ConstraintError(f"the constraint layers have {count}", problems=unique)


def layer_groups(manifest: Manifest) -> tuple[LayerGroup, ...]:
    """Return the venvs grouped by their layers, in the manifest's order.

    Venvs that have just the release's layers are the group ``release``; another group has its first venv's name.
    """
    stacks: dict[tuple[ConstraintLayer, ...], list[str]] = {}
    for name, venv in manifest.venvs.items():
        stacks.setdefault(effective_layers(manifest, venv), []).append(name)
    taken = {RELEASE}
    groups = []
    for layers, venvs in stacks.items():
        name = RELEASE if layers == manifest.constraints else _free(venvs[0], taken)
        taken.add(name)
        groups.append(LayerGroup(name=name, venvs=tuple(venvs), layers=layers))
    return tuple(groups)


def _free(name: str, taken: set[str]) -> str:
    names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return next(one for one in names if one not in taken)


def _read_file(path: Path) -> bytes:
    """Read at most one byte more than is allowed, so that the size can be judged."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)

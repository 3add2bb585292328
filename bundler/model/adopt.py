"""What another tool's files say, as a manifest: the values that readers collect, and the text of the manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from bundler.errors import Problem

_HEADER = "# Made by `bundle-build adopt` from {origin}. `bundle-build manifest sample` shows every field.\n"


@dataclass(kw_only=True)
class Adopted:
    """What can be carried over, in the order in which it was found. Paths are relative to the manifest.

    ``notes`` say what is done otherwise from now on; ``problems`` what cannot be carried over.
    """

    packages: list[str] = field(default_factory=list)
    layers: list[Mapping[str, str]] = field(default_factory=list)
    indexes: list[Mapping[str, str]] = field(default_factory=list)
    wheel_folders: list[str] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, where: str, what: str, hint: str = "") -> None:
        """Note something that cannot be carried over."""
        self.problems.append(Problem(where=where, what=what, hint=hint))

    def note(self, where: str, what: str, hint: str = "") -> None:
        """Note something that is done otherwise from now on."""
        self.notes.append(Problem(where=where, what=what, hint=hint))

    def add_package(self, text: str) -> None:
        """Add a requirement, unless it is there."""
        if text not in self.packages:
            self.packages.append(text)

    def add_folder(self, folder: str) -> None:
        """Add a folder of wheels, unless it is there."""
        if folder not in self.wheel_folders:
            self.wheel_folders.append(folder)

    def add_layer(self, stem: str, kind: str, place: str) -> None:
        """Add a constraint layer below those that are there, under a name of its own."""
        if any(layer.get(kind) == place for layer in self.layers):
            return
        taken = {layer["name"] for layer in self.layers}
        names = [stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3))]
        self.layers.append({"name": next(name for name in names if name not in taken), kind: place})

    def add_index(self, url: str, *, main: bool) -> None:
        """Add an index; the main one comes first and is the only one of its kind."""
        if main:
            others = [index for index in self.indexes if index["name"] != "main"]
            self.indexes = [{"name": "main", "url": url}, *others]
        elif all(index["url"] != url for index in self.indexes):
            extra = sum(index["name"] != "main" for index in self.indexes) + 1
            self.indexes.append({"name": f"extra-{extra}", "url": url})


def manifest_text(adopted: Adopted, *, name: str, version: str, origin: str) -> str:
    """Return the manifest of one venv with everything that was adopted; what was not stands in comments."""
    document: dict[str, Any] = {"schema": 1, "release": {"name": name, "version": version}, "targets": ["auto"]}
    parts = {
        "indexes": [dict(index) for index in adopted.indexes],
        "wheel_folders": adopted.wheel_folders,
        "constraints": [dict(layer) for layer in adopted.layers],
    }
    document.update({key: value for key, value in parts.items() if value})
    document["venvs"] = {name: {"path": f"/opt/venvs/{name}-{version}", "packages": adopted.packages}}
    comments = [_HEADER.format(origin=" ".join(origin.split()))]
    comments += [f"# Not carried over: {' '.join(str(problem).split())}\n" for problem in adopted.problems]
    body = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1 << 16)
    return "".join(comments) + body


def release_name(text: str) -> str:
    """Return ``text`` as the name of a release may be written."""
    name = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-_")[:64].strip("-_")
    return name or "adopted"

"""Fields of other projects' YAML documents: what is there as text, and what is wrong with file, line and path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bundler.errors import Problem
from bundler.model.manifest_tree import FieldPath, Located, child, locate, parse_yaml, show


@dataclass(kw_only=True)
class Fields:
    """Reads fields of one document; ``problems`` collects what is wrong."""

    tree: Located
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, path: Sequence[str | int], what: str, hint: str = "") -> None:
        """Note that the field at ``path`` is wrong."""
        self.problems.append(
            Problem(where=self.where(path), what=f"{show(path)}: {what}" if path else what, hint=hint)
        )

    def where(self, path: Sequence[str | int]) -> str:
        """Return ``file:line`` of the field at ``path``."""
        return locate(self.tree, path)[0]

    def at(self, path: Sequence[str | int]) -> Located | None:
        """Return the value at ``path``, if anything."""
        here: Located | None = self.tree
        for part in path:
            here = child(here, part) if here is not None else None
        return here

    def text(self, path: Sequence[str | int], hint: str = "") -> str:
        """Return the text at ``path``; with a ``hint`` it must be there, and the hint says what it is."""
        found = self.at(path)
        value = found.value if found is not None else None
        if isinstance(value, str) and value:
            return value
        if value is not None or hint:
            what = "is missing" if value is None else "must be a text"
            self.refuse(path, what, hint)
        return ""

    def items(self, path: FieldPath) -> Iterator[FieldPath]:
        """Yield the path of each item of the list at ``path``; what is no list is a problem."""
        found = self.at(path)
        if found is None or found.value is None:
            return
        if not isinstance(found.value, list):
            self.refuse(path, "must be a list")
            return
        yield from ((*path, number) for number in range(len(found.value)))

    def keys(self, path: FieldPath) -> tuple[str, ...]:
        """Return the keys of the mapping at ``path``; what is no mapping is a problem."""
        found = self.at(path)
        if found is None or found.value is None:
            return ()
        if not isinstance(found.value, dict):
            self.refuse(path, "must be a mapping")
            return ()
        return tuple(found.value)


def open_fields(data: bytes, file: str) -> tuple[Fields | None, tuple[Problem, ...]]:
    """Return the fields of the mapping in ``data``, or what is wrong with it."""
    tree, problems = parse_yaml(data, file)
    if tree is None or problems:
        return None, problems
    if not isinstance(tree.value, dict):
        return None, (Problem(where=tree.where, what="the document must be a mapping"),)
    return Fields(tree=tree), ()

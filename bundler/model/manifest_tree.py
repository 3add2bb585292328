"""YAML as a tree that knows where each value was written: composed, never constructed.

Scalars stay text (the models convert), so that ``version: 2026.10`` is not the number 2026.1. Anchors, aliases and
merge keys work as in YAML 1.1; other tags, duplicate keys, cycles and excessive size are problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bundler.errors import Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
#: Aliases are expanded; this bounds what a few lines of them can grow to.
MAX_NODES = 200_000
FieldPath: TypeAlias = tuple[str | int, ...]
Value: TypeAlias = "dict[str, Located] | list[Located] | str | None"
_PREFIX = "tag:yaml.org,2002:"
_SCALARS = frozenset(_PREFIX + kind for kind in ("str", "int", "float", "bool", "timestamp", "value"))
_MERGE = _PREFIX + "merge"
_NULL = _PREFIX + "null"


@dataclass(frozen=True, kw_only=True)
class Located:
    """A value, the place where it was written, and for mappings the place of each key."""

    value: Value
    file: str
    line: int
    key_lines: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Return ``file:line``."""
        return f"{self.file}:{self.line}"


class _TooMuch(Exception):
    """A bound was passed; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


class _Composer(yaml.SafeLoader):
    """PyYAML's composer with a bound on depth, so that no input exhausts the stack."""

    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self.depth += 1
        try:
            if self.depth > MAX_DEPTH and parent is not None:
                raise yaml.MarkedYAMLError(
                    problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=parent.start_mark
                )
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


@dataclass(kw_only=True)
class _Reader:
    file: str
    problems: list[Problem] = field(default_factory=list)
    count: int = 0
    open: set[int] = field(default_factory=set)

    def read(self, node: Node, path: FieldPath) -> Located:
        self.count += 1
        place = Located(value=None, file=self.file, line=_line(node))
        if self.count > MAX_NODES:
            raise _TooMuch(Problem(where=place.where, what=f"aliases expand to more than {MAX_NODES} values"))
        if id(node) in self.open:
            raise _TooMuch(Problem(where=place.where, what=f"{show(path)} contains itself through an alias"))
        if len(self.open) > MAX_DEPTH:
            raise _TooMuch(Problem(where=place.where, what=f"aliases nest deeper than {MAX_DEPTH} levels"))
        self.open.add(id(node))
        try:
            return self._of(node, path, place)
        finally:
            self.open.discard(id(node))

    def _of(self, node: Node, path: FieldPath, place: Located) -> Located:
        if isinstance(node, MappingNode) and node.tag == _PREFIX + "map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == _PREFIX + "seq":
            items = [self.read(child, (*path, number)) for number, child in enumerate(node.value)]
            return Located(value=items, file=place.file, line=place.line)
        if isinstance(node, ScalarNode) and node.tag in _SCALARS:
            return Located(value=str(node.value), file=place.file, line=place.line)
        if not (isinstance(node, ScalarNode) and node.tag == _NULL):
            tag = node.tag.replace(_PREFIX, "!!")
            self._add(node, path, f"the tag {tag} is not supported", "write a plain text, list or mapping")
        return place

    def _mapping(self, node: MappingNode, path: FieldPath) -> Located:
        own: dict[str, Located] = {}
        lines: dict[str, str] = {}
        merged: dict[str, Located] = {}
        for key, child in node.value:
            if key.tag == _MERGE:
                self._merge(child, path, merged, lines)
            elif not isinstance(key, ScalarNode):
                self._add(key, path, "a key must be a plain text", "")
            elif key.value in own:
                self._add(key, (*path, key.value), "duplicate key", f"first at {lines[key.value]}")
            else:
                own[key.value] = self.read(child, (*path, key.value))
                lines[key.value] = f"{self.file}:{_line(key)}"
        return Located(value={**merged, **own}, file=self.file, line=_line(node), key_lines=lines)

    def _merge(self, node: Node, path: FieldPath, into: dict[str, Located], lines: dict[str, str]) -> None:
        sources = node.value if isinstance(node, SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, MappingNode):
                self._add(source, path, "<< merges mappings only", "point it at an anchor of a mapping")
                continue
            found = self.read(source, path)
            if isinstance(found.value, dict):
                for key, value in found.value.items():
                    into.setdefault(key, value)
                    lines.setdefault(key, found.key_lines[key])

    def _add(self, node: Node, path: FieldPath, what: str, hint: str) -> None:
        what = f"{show(path)}: {what}" if path else what
        self.problems.append(Problem(where=f"{self.file}:{_line(node)}", what=what, hint=hint))


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def parse_yaml(data: bytes, file: str) -> tuple[Located | None, tuple[Problem, ...]]:
    """Return the tree of one YAML document, if it parses, and the problems found on the way."""
    if len(data) > MAX_BYTES:
        return None, (Problem(where=file, what=f"larger than {MAX_BYTES} bytes", hint="split it with include:"),)
    reader = _Reader(file=file)
    try:
        loader = _Composer(data)
        node = loader.get_single_node()
        if node is None:
            return None, (Problem(where=file, what="the file is empty", hint="see bundle-build manifest sample"),)
        tree = reader.read(node, ())
    except _TooMuch as error:
        return None, (*reader.problems, error.problem)
    except yaml.YAMLError as error:
        return None, (_yaml_problem(error, file),)
    except (UnicodeDecodeError, ValueError) as error:
        return None, (Problem(where=file, what=f"not YAML: {error}"),)
    return tree, tuple(reader.problems)


def _yaml_problem(error: yaml.YAMLError, file: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}" if mark else file
        context = f" {error.context}" if error.context else ""
        return Problem(where=where, what=f"not YAML: {error.problem or 'syntax error'}{context}")
    return Problem(where=file, what="not YAML: " + " ".join(str(error).split()), hint="the file must be UTF-8 text")


def show(path: Sequence[str | int]) -> str:
    """Return the path as people write it: ``venvs.nova.packages[2]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def plain(tree: Located) -> Any:
    """Return the values without their places."""
    if isinstance(tree.value, dict):
        return {key: plain(child) for key, child in tree.value.items()}
    if isinstance(tree.value, list):
        return [plain(child) for child in tree.value]
    return tree.value


def overlay(low: Located, high: Located) -> Located:
    """Return both merged: mappings deeply, anything else from ``high``."""
    if not isinstance(low.value, dict) or not isinstance(high.value, dict):
        return high
    merged = dict(low.value)
    for key, child in high.value.items():
        merged[key] = overlay(merged[key], child) if key in merged else child
    return Located(value=merged, file=high.file, line=high.line, key_lines={**low.key_lines, **high.key_lines})


def without_key(tree: Located, key: str) -> Located:
    """Return the mapping ``tree`` without ``key``."""
    if not isinstance(tree.value, dict):
        return tree
    return replace(tree, value={name: below for name, below in tree.value.items() if name != key})


def locate(tree: Located, path: Sequence[str | int]) -> tuple[str, FieldPath]:
    """Return ``file:line`` of the value at ``path`` or of its nearest ancestor, and the part of ``path`` that exists.

    A key's own line is preferred to that of its value, which may begin lines below.
    """
    where = tree.where
    done: FieldPath = ()
    for part in path:
        following = child(tree, part)
        if following is None:
            break
        where = tree.key_lines.get(str(part), following.where) if isinstance(part, str) else following.where
        tree, done = following, (*done, part)
    return where, done


def child(tree: Located, part: str | int) -> Located | None:
    """Return what is under a key or at a number, if anything."""
    if isinstance(tree.value, dict):
        return tree.value.get(str(part))
    if isinstance(tree.value, list) and isinstance(part, int) and 0 <= part < len(tree.value):
        return tree.value[part]
    return None


def find(tree: Located, pattern: str) -> Iterator[tuple[FieldPath, Located]]:
    """Yield every value whose path fits ``pattern``: keys joined by dots, ``*`` for any key or number."""
    yield from _find(tree, pattern.split("."), ())


def _find(tree: Located, parts: Sequence[str], path: FieldPath) -> Iterator[tuple[FieldPath, Located]]:
    if not parts:
        yield path, tree
        return
    for key, below in _children(tree):
        if parts[0] in ("*", str(key)):
            yield from _find(below, parts[1:], (*path, key))


def _children(tree: Located) -> Iterator[tuple[str | int, Located]]:
    if isinstance(tree.value, dict):
        yield from tree.value.items()
    elif isinstance(tree.value, list):
        yield from enumerate(tree.value)

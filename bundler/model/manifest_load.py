"""Loading a manifest: YAML, ``include:``, today's names for old ones, validation. All problems are found at once.

Pure: bytes come from the caller. An ``include:`` is a list of files relative to the file that names them; mappings
merge deeply, a later file wins over an earlier one, and the including file wins over all that it includes.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bundler.errors import ManifestError, Problem
from bundler.model.manifest import Manifest
from bundler.model.manifest_check import problem_at, rename_deprecated, validate
from bundler.model.manifest_rules import check_rules
from bundler.model.manifest_tree import Located, overlay, parse_yaml, without_key

MAX_FILES = 100
Read = Callable[[Path], bytes]


@dataclass(frozen=True, kw_only=True)
class LoadedManifest:
    """A manifest, the SHA-256 over all files that it was read from, and the directory that paths are relative to."""

    manifest: Manifest
    digest: str
    root: Path
    warnings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(kw_only=True)
class _Loading:
    read: Read
    root: Path
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    contents: dict[Path, bytes] = field(default_factory=dict)
    count: int = 0

    def load(self, path: Path, stack: tuple[Path, ...], origin: Problem) -> Located | None:
        """Return the tree of ``path`` with all that it includes; ``origin`` says where it was asked for."""
        self.count += 1
        if path in stack:
            names = " → ".join(str(one) for one in (*stack[stack.index(path) :], path))
            self.problems.append(replace(origin, what=f"{origin.what} includes itself: {names}"))
            return None
        if self.count > MAX_FILES:
            self.problems.append(replace(origin, what=f"{origin.what}: more than {MAX_FILES} included files"))
            return None
        data = self._bytes(path, origin)
        if data is None:
            return None
        tree, problems = parse_yaml(data, str(path))
        self.problems.extend(problems)
        return None if tree is None else self._with_includes(tree, path, (*stack, path))

    def _bytes(self, path: Path, origin: Problem) -> bytes | None:
        if path not in self.contents:
            try:
                self.contents[path] = self.read(path)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                self.problems.append(replace(origin, what=f"{origin.what} cannot be read: {reason}"))
                return None
        return self.contents[path]

    def _with_includes(self, tree: Located, path: Path, stack: tuple[Path, ...]) -> Located | None:
        if not isinstance(tree.value, dict):
            self.problems.append(Problem(where=tree.where, what="a manifest is a mapping", hint="schema: 1 …"))
            return None
        tree, warnings, problems = rename_deprecated(tree)
        self.warnings.extend(warnings)
        self.problems.extend(problems)
        base: Located | None = None
        for origin, included in self._includes(tree, path):
            below = self.load(included, stack, origin)
            if below is not None:
                base = below if base is None else overlay(base, below)
        own = without_key(tree, "include")
        return own if base is None else overlay(base, own)

    def _includes(self, tree: Located, path: Path) -> list[tuple[Problem, Path]]:
        listed = tree.value.get("include") if isinstance(tree.value, dict) else None
        if listed is None:
            return []
        if not isinstance(listed.value, list):
            self.problems.append(problem_at(tree, ("include",), "must be a list of files"))
            return []
        found = []
        for number, item in enumerate(listed.value):
            place = ("include", number)
            if not isinstance(item.value, str) or not item.value or "\0" in item.value:
                self.problems.append(problem_at(tree, place, "must be the path of a file"))
            else:
                following = Path(posixpath.normpath(path.parent / item.value))
                found.append((problem_at(tree, place, repr(item.value)), following))
        return found


def load_manifest(path: Path, read: Read) -> LoadedManifest:
    """Return the manifest at ``path``, with everything that it includes.

    ``read`` returns a file's content, of which more than 1 MiB is refused.

    Raises:
        ManifestError: Something is wrong in it; ``problems`` lists all of it with file, line and field.
    """
    path = Path(posixpath.normpath(path))
    loading = _Loading(read=read, root=path.parent)
    tree = loading.load(path, (), Problem(where="", what=str(path)))
    problems = list(loading.problems)
    manifest: Manifest | None = None
    if tree is not None:
        manifest, invalid = validate(tree)
        problems += [*invalid, *check_rules(tree)]
    if manifest is None or problems:
        raise _error(path, problems)
    return LoadedManifest(
        manifest=manifest,
        digest=_digest(loading),
        root=path.parent,
        warnings=tuple(dict.fromkeys(loading.warnings)),
        files=tuple(sorted(loading.contents)),
    )


def _error(path: Path, problems: list[Problem]) -> ManifestError:
    unique = sorted(dict.fromkeys(problems), key=_order)
    count = "1 problem" if len(unique) == 1 else f"{len(unique)} problems"
    hint = "bundle-build manifest sample shows every field"
    return ManifestError(f"{path}: {count}", hint=hint, problems=unique)


def _order(problem: Problem) -> tuple[str, int, str]:
    file, _, line = problem.where.rpartition(":")
    return (file, int(line), problem.what) if line.isdecimal() else (problem.where, 0, problem.what)


def _digest(loading: _Loading) -> str:
    """Return one digest over names and contents; names are relative, so that a moved checkout keeps it."""
    digest = hashlib.sha256()
    for path, data in sorted(loading.contents.items()):
        name = posixpath.relpath(path, loading.root).encode()
        digest.update(b"%d:%s%d:" % (len(name), name, len(data)))
        digest.update(data)
    return digest.hexdigest()

"""What is wrong with a manifest: each problem with file, line, path of the field and the nearest valid key.

The models say what is valid; this module turns what pydantic reports into problems a person can act upon, and maps
deprecated names to today's. Rules that span several fields are in :mod:`bundler.model.manifest_rules`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bundler.errors import Problem
from bundler.model.manifest import DEPRECATED, Manifest
from bundler.model.manifest_fields import fields_at, title_at
from bundler.model.manifest_tree import FieldPath, Located, child, find, locate, plain, show
from bundler.model.nearest import nearest
from bundler.model.requirement import redacted

_BRANCHES = ("list[", "dict[", "tuple[", "str", "nullable")
_NAME_RULE = "lower-case letters, digits, '-' and '_', at most 64, beginning and ending with a letter or digit"


def problem_at(tree: Located, path: Sequence[str | int], what: str, hint: str = "") -> Problem:
    """Return the problem with the place of ``path`` in ``tree``."""
    where, _ = locate(tree, path)
    return Problem(where=where, what=f"{show(path)}: {what}" if path else what, hint=hint)


def validate(tree: Located) -> tuple[Manifest | None, tuple[Problem, ...]]:
    """Return the manifest that ``tree`` states, or everything that the models find wrong."""
    try:
        return Manifest.model_validate(plain(tree)), ()
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True, include_input=True)
        found = (_problem(tree, detail) for detail in details)
        return None, tuple(dict.fromkeys(one for one in found if one is not None))


def _problem(tree: Located, detail: ErrorDetails) -> Problem | None:
    path, fits = _path(tree, detail["loc"])
    if not fits:
        return None
    kind = detail["type"]
    if kind == "extra_forbidden":
        return problem_at(tree, path, "unknown key", nearest(str(path[-1]), fields_at(path[:-1])))
    if kind == "missing":
        return problem_at(tree, path, "is missing", title_at(path))
    if detail["loc"] and detail["loc"][-1] == "[key]":
        return problem_at(tree, path, f"{path[-1]!r} is no valid name", _NAME_RULE)
    value = detail["input"]
    if value is None:
        return problem_at(tree, path, "is empty", "give it a value or remove the key")
    return problem_at(tree, path, *_explain(detail, path))


def _explain(detail: ErrorDetails, path: FieldPath) -> tuple[str, str]:
    kind, value = detail["type"], detail["input"]
    context: Mapping[str, Any] = detail.get("ctx") or {}
    title = title_at(path)
    shown = repr(redacted(value)[:80]) if isinstance(value, str) else ""
    if kind == "literal_error":
        options = str(context.get("expected", ""))
        plain_options = [option.strip(" '") for option in options.replace(" or ", ",").split(",")]
        close = difflib.get_close_matches(str(value), plain_options, n=1)
        return f"{shown or 'this'} is not one of {options}", f"did you mean {close[0]}?" if close else title
    if kind == "string_pattern_mismatch":
        return f"{shown} does not fit {context.get('pattern', '')}", title
    message = (
        detail["msg"].removeprefix("Input ").replace("valid tuple", "list").replace("valid dictionary", "mapping")
    )
    message = message.replace("valid list", "list").replace("object", "mapping").replace("valid string", "text")
    return f"{message}, not {shown}" if shown else f"{message}, not {_kind(value)}", title


def _kind(value: object) -> str:
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "this"


def _path(tree: Located, loc: Sequence[str | int]) -> tuple[FieldPath, bool]:
    """Return the path of the field without the branches of unions, and whether the branch fits what was written."""
    done: list[str | int] = []
    here: Located | None = tree
    for part in loc:
        below = child(here, part) if here is not None else None
        if below is None and isinstance(part, str) and part.startswith((*_BRANCHES, "[key]")):
            if here is not None and not _fits(part, here):
                return tuple(done), False
            continue
        done.append(part)
        here = below
    return tuple(done), True


def _fits(branch: str, here: Located) -> bool:
    if branch.startswith(("list[", "tuple[")):
        return not isinstance(here.value, dict)
    if branch.startswith("dict["):
        return isinstance(here.value, dict)
    return branch != "str" or not isinstance(here.value, dict | list)


def _keys(tree: Located, path: FieldPath) -> set[str]:
    here: Located | None = tree
    for part in path:
        here = child(here, part) if here is not None else None
    return set(here.value) if here is not None and isinstance(here.value, dict) else set()


def rename_deprecated(tree: Located) -> tuple[Located, tuple[str, ...], tuple[Problem, ...]]:
    """Return the tree with today's names, a warning for each old one, and a problem where both are written."""
    warnings: list[str] = []
    problems: list[Problem] = []
    for pattern, new in DEPRECATED.items():
        for path, _ in list(find(tree, pattern)):
            where, _ = locate(tree, path)
            if new in _keys(tree, path[:-1]):
                problems.append(problem_at(tree, path, f"is the old name of {new}, which is given too", "remove one"))
            warnings.append(f"{where}: {show(path)} is deprecated (write {new})")
            tree = _renamed(tree, path, new)
    return tree, tuple(warnings), tuple(problems)


def _renamed(tree: Located, path: FieldPath, new: str) -> Located:
    part, rest = path[0], path[1:]
    if isinstance(tree.value, list):
        items = [_renamed(item, rest, new) if number == part else item for number, item in enumerate(tree.value)]
        return replace(tree, value=items)
    if not isinstance(tree.value, dict):
        return tree
    if rest:
        below = {key: _renamed(item, rest, new) if key == part else item for key, item in tree.value.items()}
        return replace(tree, value=below)
    renamed = {key: item for key, item in tree.value.items() if key != part}
    renamed.setdefault(new, tree.value[str(part)])
    lines = dict(tree.key_lines)
    lines.setdefault(new, lines.get(str(part), tree.where))
    return replace(tree, value=renamed, key_lines=lines)

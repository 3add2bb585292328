"""Reading ``site.yaml``: strictly, and with all problems at once, each with file, line, path of the field and a hint.

Pure: bytes come from the caller. Scalars are read as they are written, by the kind of their field
(:mod:`bundler.model.site_fields`); what spans several fields is in :mod:`bundler.model.site_rules`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from typing import Any

from bundler.errors import Problem, SiteError
from bundler.model.manifest_tree import FieldPath, Located, locate, parse_yaml, show
from bundler.model.nearest import nearest
from bundler.model.site import Site
from bundler.model.site_fields import Field, Model, default_of, fields_of
from bundler.model.site_kinds import Kind, Wrong, shown
from bundler.model.site_rules import Complaint, check_rules

_SAMPLE = "bundle-install site sample shows every field"


@dataclass(kw_only=True)
class _Reading:
    """Builds values as well as it can, so that every rule can be tried; wrong fields get their defaults."""

    tree: Located
    problems: list[Problem] = field(default_factory=list)
    wrong: set[FieldPath] = field(default_factory=set)

    def add(self, path: FieldPath, what: str, hint: str = "") -> None:
        self.wrong.add(path)
        where, _ = locate(self.tree, path)
        self.problems.append(Problem(where=where, what=f"{show(path)}: {what}" if path else what, hint=hint))

    def complain(self, complaint: Complaint) -> None:
        """Take what a rule says, unless the field is known to be wrong."""
        if complaint.path not in self.wrong:
            self.add(complaint.path, complaint.what, complaint.hint)

    def object(self, model: Model, here: Located, path: FieldPath) -> Any:
        """Return the dataclass that a mapping states."""
        table = fields_of(model)
        written = here.value if isinstance(here.value, dict) else {}
        if not isinstance(here.value, dict):
            self.add(path, f"must be a mapping with {', '.join(table)}", _SAMPLE)
        for key in written:
            if key not in table:
                self.add((*path, key), "unknown key", nearest(key, table))
        values = {}
        for name, facts in table.items():
            default = default_of(model, name)
            if name in written:
                values[name] = self.value(facts, written[name], (*path, name), default)
            elif default is not dataclasses.MISSING:
                values[name] = default
            else:
                values[name] = ""
                if isinstance(here.value, dict):
                    self.add((*path, name), "is missing", facts.about)
        return model(**values)

    def value(self, facts: Field, here: Located, path: FieldPath, default: Any) -> Any:
        """Return what a field says, its default where that is wrong."""
        if here.value is None:
            self.add(path, "is empty", "give it a value or remove the key")
            return "" if default is dataclasses.MISSING else default
        if not facts.many:
            return self.one(facts, here, path, default)
        if not isinstance(here.value, list):
            self.add(path, f"must be a list, not {_kind(here)}", "put a dash before each item")
            return ()
        items = enumerate(here.value)
        return tuple(self.one(facts, item, (*path, number), None) for number, item in items)

    def one(self, facts: Field, here: Located, path: FieldPath, default: Any) -> Any:
        """Return one value or object."""
        if not isinstance(facts.kind, Kind):
            return self.object(facts.kind, here, path)
        try:
            return _scalar(facts.kind, here)
        except Wrong as wrong:
            self.add(path, wrong.what, wrong.hint or facts.about)
            return "" if default in (dataclasses.MISSING, None) else default


def load_site(data: bytes, where: str) -> Site:
    """Return the site that ``data`` states; ``where`` is the file's name for messages.

    Raises:
        SiteError: Something is wrong in it; ``problems`` lists all of it with file, line and field.
    """
    tree, found = parse_yaml(data, where)
    problems = [_without_manifests(problem) for problem in found]
    site = Site(name="")
    if tree is not None:
        reading = _Reading(tree=tree)
        site = reading.object(Site, tree, ())
        if isinstance(tree.value, dict):
            for complaint in check_rules(site, tree):
                reading.complain(complaint)
        problems += reading.problems
    if problems:
        unique = sorted(dict.fromkeys(problems), key=_order)
        count = "1 problem" if len(unique) == 1 else f"{len(unique)} problems"
        raise SiteError(f"{where}: {count}", hint=_SAMPLE, problems=unique)
    return site


def _scalar(kind: Kind, here: Located) -> Any:
    if not isinstance(here.value, str):
        raise Wrong(f"must be a {kind.label}, not {_kind(here)}" if here.value is not None else "is empty")
    if here.value == "":
        raise Wrong("is empty", "give it a value or remove the key")
    return kind.read(here.value)


def _kind(here: Located) -> str:
    if isinstance(here.value, str):
        return shown(here.value)
    return "a mapping" if isinstance(here.value, dict) else "a list"


def _without_manifests(problem: Problem) -> Problem:
    """Drop hints of the reader that are about manifests."""
    return replace(problem, hint=_SAMPLE) if "manifest" in problem.hint or "include:" in problem.hint else problem


def _order(problem: Problem) -> tuple[int, str]:
    line = problem.where.rpartition(":")[2]
    return int(line) if line.isdecimal() else 0, problem.what

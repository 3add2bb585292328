"""The commented example of ``site.yaml``, its JSON Schema and its reference page, all made from the one table.

In the sample, ``# text`` explains and ``#key: value`` is an optional field with an example: without its ``#`` it is
a valid line. The sample passes the check as it is, and also with every optional field taken in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from bundler.model.site import Site
from bundler.model.site_fields import FIELDS, SHOWN, Field, Model, default_of, fields_of
from bundler.model.site_kinds import Kind

_SAMPLE_HEAD = """\
# A site: its hosts and how to reach them. Lines like `#key: value` are optional fields; take the # away to use them.
# bundle-install site check names every mistake with its line.
"""
_REFERENCE_HEAD = """\
# site.yaml

<!-- Written by scripts/reference from the table in bundler/model/site_fields.py; edit that. -->

What `bundle-install` knows of a site: `/etc/bundle-install/site.yaml`, or where `--config-dir` says.
`bundle-install site check` names every problem with line and field; `site schema` prints the JSON Schema for editors;
`site sample` prints the file below. [The guide](../guide/site.md) explains how to write one.

- Unknown keys, keys that occur twice and empty values are problems. YAML anchors and merge keys (`<<`) work.
- Paths are absolute. Sizes are bytes or `50M`, `1GiB` (of 1024), `50MB` (of 1000). Times are seconds.
- Secrets never stand in it: keys are named by their files.
"""


def site_sample() -> str:
    """Return a commented example that is itself a valid ``site.yaml``."""
    return _SAMPLE_HEAD + "".join(f"{line}\n" for line in _mapping(Site, 0, live=True))


def _mapping(model: Model, indent: int, *, live: bool, dash: bool = False) -> Iterator[str]:
    """Yield the lines of an object; with ``dash`` as an item of a list, whose dash stands before its first key."""
    for name, facts in fields_of(model).items():
        default = default_of(model, name)
        required = default is dataclasses.MISSING
        if indent == 0:
            yield ""
        yield f"{' ' * indent}# {_sentence(facts.about)}{_note(default)}"
        shown = live and (required or (model, name) in SHOWN)
        lines = list(_field(name, facts, indent, live=shown))
        yield from _dashed(lines, indent) if dash else lines
        dash = False


def _dashed(lines: list[str], indent: int) -> list[str]:
    """Put the list's dash two columns before the first key, behind its # if it has one."""
    first = lines[0]
    mark = "#" if first.lstrip().startswith("#") else ""
    return [f"{' ' * (indent - 2)}{mark}- {first.lstrip(' #')}", *lines[1:]]


def _field(name: str, facts: Field, indent: int, *, live: bool) -> Iterator[str]:
    start = " " * indent + ("" if live else "#")
    if facts.model is None:
        yield f"{start}{name}: [{facts.example}]" if facts.many else f"{start}{name}: {facts.example}"
        return
    yield f"{start}{name}:"
    yield from _mapping(facts.model, indent + (4 if facts.many else 2), live=live, dash=facts.many)


def _sentence(about: str) -> str:
    return about.replace("`", "")


def _note(default: Any) -> str:
    if default is dataclasses.MISSING:
        return " (required)"
    return f" (default: {_written(default)})" if _written(default) else ""


def _written(default: Any) -> str:
    """Return a default as YAML has it; what is empty or an object needs no words."""
    if default in ("", (), None, dataclasses.MISSING) or dataclasses.is_dataclass(default):
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def site_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``site.yaml`` (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Site",
        **_object(Site),
        "$defs": {model.__name__: _object(model) for model in FIELDS if model is not Site},
    }


def _object(model: Model) -> dict[str, Any]:
    table = fields_of(model)
    required = [name for name in table if default_of(model, name) is dataclasses.MISSING]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _property(facts, default_of(model, name)) for name, facts in table.items()},
        **({"required": required} if required else {}),
    }


def _property(facts: Field, default: Any) -> dict[str, Any]:
    one = facts.kind.schema if isinstance(facts.kind, Kind) else {"$ref": f"#/$defs/{facts.kind.__name__}"}
    shape: dict[str, Any] = {"type": "array", "items": one} if facts.many else dict(one)
    written = {"default": default} if _written(default) else {}
    return {**shape, "description": _sentence(facts.about), **written}


def site_reference() -> str:
    """Return the reference page of ``site.yaml`` in Markdown."""
    sections = (f"## {model.__name__}\n\n{_prose(model)}\n\n{_table(model)}\n" for model in FIELDS)
    return "\n".join((_REFERENCE_HEAD, *sections, f"## Sample\n\n```yaml\n{site_sample()}```\n"))


def _prose(model: Model) -> str:
    return " ".join((model.__doc__ or "").split()).replace("``", "`")


def _table(model: Model) -> str:
    rows = ["| key | what it is | type | default |", "|---|---|---|---|"]
    for name, facts in fields_of(model).items():
        default = default_of(model, name)
        written = "**required**" if default is dataclasses.MISSING else _code(_written(default))
        rows.append(f"| `{name}` | {facts.about} | {_linked(facts)} | {written} |")
    return "\n".join(rows)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _linked(facts: Field) -> str:
    if isinstance(facts.kind, Kind):
        return f"list: {facts.kind.label}" if facts.many else facts.kind.label
    link = f"[{facts.kind.__name__}](#{facts.kind.__name__.lower()})"
    return f"list of {link}" if facts.many else link

"""The commented example of a manifest and the reference page, both made from the models.

In the sample, ``# text`` explains and ``#key: value`` is an optional field with an example: without its ``#`` it is
a valid line. The sample passes the check as it is, and also with every optional field taken in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from bundler.model.manifest import DEPRECATED, Manifest
from bundler.model.manifest_fields import EXAMPLE_KEYS, FieldFacts, all_models, fields_of, kind_of

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9/._=-]*")
_RESERVED = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n", "null"))
#: Optional fields that a first manifest has.
_SHOWN = frozenset(("Venv.packages", "Venv.smoke", "Smoke.expect"))
_EMPTY: tuple[Any, ...] = (None, "", [], {})
_LONG = 60
_SAMPLE_HEAD = """\
# A manifest: what goes into a bundle. Lines like `#key: value` are optional fields; take the # away to use them.
# bundle-build manifest check FILE names every mistake with its line; manifest explain FILE shows what it means.
"""


@dataclass(frozen=True, kw_only=True)
class _Line:
    indent: int
    text: str
    live: bool = True

    def __str__(self) -> str:
        return f"{' ' * self.indent}{'' if self.live else '#'}{self.text}".rstrip()


def sample() -> str:
    """Return a commented example that is itself a valid manifest."""
    return _SAMPLE_HEAD + "".join(f"{line}\n" for line in _mapping(Manifest, 0, live=True))


def _mapping(model: type[BaseModel], indent: int, *, live: bool) -> Iterator[_Line]:
    for facts in fields_of(model):
        if facts.key.startswith("x-"):
            continue
        if indent == 0:
            yield _Line(indent=0, text="")
        yield _Line(indent=indent, text=f"# {facts.title}{_note(facts)}")
        shown = live and (facts.required or f"{model.__name__}.{facts.key}" in _SHOWN)
        yield from _field(facts, indent, live=shown)


def _note(facts: FieldFacts) -> str:
    if facts.required:
        return " (required)"
    return "" if facts.default in _EMPTY else f" (default: {_flow(facts.default)})"


def _field(facts: FieldFacts, indent: int, *, live: bool) -> Iterator[_Line]:
    if facts.model is None or facts.example is not None:
        yield from _value(facts.key, facts.example, indent, live=live)
        return
    yield _Line(indent=indent, text=f"{facts.key}:", live=live)
    if facts.many == "mapping":
        yield _Line(indent=indent + 2, text=f"{EXAMPLE_KEYS[facts.key]}:", live=live)
        yield from _mapping(facts.model, indent + 4, live=live)
    elif facts.many == "list":
        yield from _item(_mapping(facts.model, indent + 4, live=live))
    else:
        yield from _mapping(facts.model, indent + 2, live=live)


def _item(lines: Iterable[_Line]) -> Iterator[_Line]:
    """Make a mapping a list item: the dash stands before its first key."""
    first = True
    for line in lines:
        if first and not line.text.startswith("#"):
            first = False
            yield replace(line, indent=line.indent - 2, text=f"- {line.text}")
        else:
            yield line


def _value(key: str, value: Any, indent: int, *, live: bool) -> Iterator[_Line]:
    text = _flow(value)
    if isinstance(value, list) and len(text) > _LONG:
        yield _Line(indent=indent, text=f"{key}:", live=live)
        for item in value:
            yield _Line(indent=indent + 2, text=f"- {_flow(item)}", live=live)
    else:
        yield _Line(indent=indent, text=f"{key}: {text}", live=live)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and (not _PLAIN.fullmatch(value) or value.lower() in _RESERVED):
        return json.dumps(value)
    return json.dumps(value) if isinstance(value, bool) or value is None else str(value)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of manifests (draft 2020-12)."""
    found = Manifest.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "Bundle manifest"}


def reference() -> str:
    """Return the reference page of the manifest in Markdown."""
    sections = (f"## {model.__name__}\n\n{_prose(model)}\n\n{_table(model)}\n" for model in all_models())
    renamed = "".join(f"| `{old}` | `{new}` |\n" for old, new in sorted(DEPRECATED.items()))
    old_names = f"## Deprecated names\n\nAccepted with a warning.\n\n| old | write |\n|---|---|\n{renamed}"
    return "\n".join((_REFERENCE_HEAD, *sections, old_names, f"## Sample\n\n```yaml\n{sample()}```\n"))


def _prose(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split()).replace("``", "`")


def _table(model: type[BaseModel]) -> str:
    rows = ["| key | what it is | type | default |", "|---|---|---|---|"]
    for facts in fields_of(model):
        default = "**required**" if facts.required else _default(facts)
        kind = _linked(facts)
        rows.append(f"| `{facts.key}` | {_cell(facts.title)} | {kind} | {default} |")
    return "\n".join(rows)


def _default(facts: FieldFacts) -> str:
    return "" if facts.default in _EMPTY else f"`{_flow(facts.default)}`"


def _linked(facts: FieldFacts) -> str:
    text = _cell(facts.kind)
    if facts.model is None:
        return text
    name = kind_of(facts.model)
    return text.replace(name, f"[{name}](#{name.lower()})")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


_REFERENCE_HEAD = """\
# Manifest

<!-- Written by scripts/reference from the models; edit those. -->

A manifest is one YAML file, `schema: 1`, with files that it includes. `bundle-build manifest check` names every
problem with file, line and field; `manifest schema` prints the JSON Schema for editors; `manifest explain` shows the
manifest as it is understood, per venv and target.

- `include:` is a list of files relative to the file that names them. Mappings merge deeply, a later file wins over an
  earlier one, and the including file wins over all that it includes. All other paths are relative to the manifest.
- YAML anchors, aliases and merge keys (`<<`) work; `x-anchors:` is a place for them. Duplicate keys are problems.
- A list of distro packages may be a mapping of lists; the most specific key wins: the target's name,
  `<distro>-<version>-<arch>`, `<distro>-<version>`; then the names under which OpenStack-Ansible's roles keep their
  variables: `<distro>-<major version>`, `<family>-<major version>` (`redhat-9`: Rocky 9 too), the distro, its family
  (`debian`: Debian and Ubuntu; `redhat`: Rocky, AlmaLinux, CentOS, Red Hat); then `apt` or `dnf`; then `default`.
  Upper and lower case are the same: `Debian` and `RedHat`, as Ansible's facts spell them, are `debian` and `redhat`.
  Overrides under `venvs.<name>.targets` are chosen by the same keys.
- Requirements are PEP 508, `name @ git+https://…@revision#subdirectory=…`, `git+https://…@revision#egg=name`, or
  `name @ ./directory` for a local source.
- Credentials never stand in a manifest: they come from netrc, a keyring, or `UV_INDEX_<NAME>_USERNAME` and
  `UV_INDEX_<NAME>_PASSWORD`.
"""

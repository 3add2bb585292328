"""The fields of the manifest as data: what the sample, the reference page and the messages are made from."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bundler.model.manifest import Manifest

#: What a key of a mapping is called in examples, by field.
EXAMPLE_KEYS: Mapping[str, str] = {
    "venvs": "keystone",
    "targets": "ubuntu-24.04-x86_64",
    "systems": "ubuntu-24.04",
    "packages": "lxml",
}
_NAMES = {str: "text", int: "whole number", bool: "true or false", Any: "anything"}


@dataclass(frozen=True, kw_only=True)
class FieldFacts:
    """One key of a mapping: ``model`` is what lies below it, ``many`` whether as list, mapping or single."""

    key: str
    title: str
    kind: str
    required: bool
    default: Any
    example: Any
    model: type[BaseModel] | None
    many: Literal["", "list", "mapping"]


def fields_of(model: type[BaseModel]) -> tuple[FieldFacts, ...]:
    """Return the fields of ``model`` in their order."""
    return tuple(_facts(field.alias or name, field) for name, field in model.model_fields.items())


def _facts(key: str, field: FieldInfo) -> FieldFacts:
    below, many = model_below(field.annotation)
    default = None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
    default = None if default is PydanticUndefined else _as_data(default)
    example = field.examples[0] if field.examples else None if below else default
    return FieldFacts(
        key=key,
        title=field.title or "",
        kind=kind_of(field.annotation),
        required=field.is_required(),
        default=default,
        example=example,
        model=below,
        many=many,
    )


def _as_data(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {}
    return list(value) if isinstance(value, tuple) else value


def model_below(kind: Any) -> tuple[type[BaseModel] | None, Literal["", "list", "mapping"]]:
    """Return the model that values of type ``kind`` are made of, and how many of it there are."""
    for one in alternatives(kind):
        if isinstance(one, type) and get_origin(one) is None and issubclass(one, BaseModel):
            return one, ""
        if get_origin(one) in (tuple, list):
            return model_below(get_args(one)[0])[0], "list"
        if get_origin(one) is dict:
            return model_below(get_args(one)[1])[0], "mapping"
    return None, ""


def alternatives(kind: Any) -> Iterator[Any]:
    """Yield the members of a union, without annotations."""
    if get_origin(kind) is Annotated:
        yield from alternatives(get_args(kind)[0])
    elif get_origin(kind) in (Union, types.UnionType):
        for one in get_args(kind):
            yield from alternatives(one)
    else:
        yield kind


def kind_of(kind: Any) -> str:
    """Return a type in words."""
    names = [_word(one) for one in alternatives(kind) if one is not type(None)]
    return " or ".join(dict.fromkeys(names))


def _word(one: Any) -> str:
    origin, arguments = get_origin(one), get_args(one)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (tuple, list):
        return f"list of {kind_of(arguments[0])}"
    if origin is dict:
        return f"mapping of name to {kind_of(arguments[1])}"
    if isinstance(one, type) and issubclass(one, BaseModel):
        return one.__name__
    return _NAMES.get(one, str(one))


def fields_at(path: tuple[str | int, ...]) -> dict[str, str]:
    """Return the keys that are allowed at ``path`` of a manifest, with their titles."""
    model = _model_at(path)
    return {} if model is None else {facts.key: facts.title for facts in fields_of(model)}


def title_at(path: tuple[str | int, ...]) -> str:
    """Return the title of the innermost field that ``path`` lies in."""
    found = (fields_at(path[:end]).get(str(path[end])) for end in range(len(path) - 1, -1, -1))
    return next(filter(None, found), "")


def _model_at(path: tuple[str | int, ...]) -> type[BaseModel] | None:
    model: type[BaseModel] = Manifest
    rest = list(path)
    while rest:
        facts = next((one for one in fields_of(model) if one.key == str(rest[0])), None)
        if facts is None or facts.model is None:
            return None
        needed = 2 if facts.many else 1
        if len(rest) < needed:
            return None
        model, rest = facts.model, rest[needed:]
    return model


def all_models() -> tuple[type[BaseModel], ...]:
    """Return every model of the manifest, the root first, each after the one that names it."""
    found: dict[type[BaseModel], None] = {}
    pending: list[type[BaseModel]] = [Manifest]
    while pending:
        model = pending.pop(0)
        if model not in found:
            found[model] = None
            pending.extend(facts.model for facts in fields_of(model) if facts.model is not None)
    return tuple(found)

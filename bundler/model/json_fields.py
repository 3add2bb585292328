"""Strict reading of JSON from outside: no duplicate keys, no floats, errors that carry the path of the field."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from bundler.errors import FormatError

T = TypeVar("T")
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: No length of anything reaches this; JSON readers in other languages lose precision beyond 2**53.
MAX_INTEGER = 2**53
MAX_TEXT = 1024


def load_json(data: bytes, what: str) -> Fields:
    """Return the fields of the JSON object in ``data``; ``what`` names the document in errors.

    Raises:
        FormatError: It is not UTF-8, not JSON, has a key twice, or is not an object.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except FormatError as error:
        raise FormatError(f"{what}: {error.message}") from error
    except RecursionError as error:
        raise FormatError(f"{what}: nested too deeply") from error
    except ValueError as error:
        raise FormatError(f"{what}: not JSON: {error}") from error
    return Node(value=value, where="").fields(what)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"key {twice[:100]!r} occurs twice")
    return found


def _no_float(text: str) -> Any:
    raise FormatError(f"number {text[:40]} is no whole number")


@dataclass(frozen=True, kw_only=True)
class Node:
    """A value and its path in the document, such as ``files[3].sha256``."""

    value: Any
    where: str

    def fail(self, what: str) -> FormatError:
        """Return the error that this value is wrong."""
        return FormatError(f"{self.where or 'document'}: {what}")

    def fields(self, what: str = "") -> Fields:
        """Return the object's fields."""
        if not isinstance(self.value, dict):
            raise FormatError(f"{self.where or what}: must be an object")
        return Fields(values=self.value, where=self.where)

    def text(self, pattern: re.Pattern[str] | None = None) -> str:
        """Return a string of printable characters that matches ``pattern`` as a whole."""
        if not isinstance(self.value, str):
            raise self.fail("must be a string")
        if len(self.value) > MAX_TEXT or not self.value.isprintable():
            raise self.fail(f"longer than {MAX_TEXT} characters or not printable")
        if pattern is not None and pattern.fullmatch(self.value) is None:
            raise self.fail(f"{self.value!r} does not have the form {pattern.pattern}")
        return self.value

    def digest(self) -> str:
        """Return a SHA-256 in hexadecimal."""
        if not isinstance(self.value, str) or _DIGEST.fullmatch(self.value) is None:
            raise self.fail("must be a SHA-256 in 64 lower-case hexadecimal digits")
        return self.value

    def integer(self) -> int:
        """Return a whole number from 0 on."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.fail("must be a whole number")
        if not 0 <= self.value < MAX_INTEGER:
            raise self.fail("must be at least 0 and less than 2**53")
        return self.value

    def boolean(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            raise self.fail("must be true or false")
        return self.value

    def each(self, read: Callable[[Node], T]) -> tuple[T, ...]:
        """Return ``read`` of every element of a list."""
        if not isinstance(self.value, list):
            raise self.fail("must be a list")
        return tuple(
            read(Node(value=value, where=f"{self.where}[{index}]")) for index, value in enumerate(self.value)
        )

    def checked(self, check: Callable[[str], str]) -> str:
        """Return the string if ``check`` passes; its FormatError gets the path of the field."""
        if not isinstance(self.value, str):
            raise self.fail("must be a string")
        try:
            return check(self.value)
        except FormatError as error:
            raise self.fail(error.message) from error


@dataclass(frozen=True, kw_only=True)
class Fields:
    """The fields of an object; ``where`` is the object's own path."""

    values: dict[str, Any]
    where: str

    def node(self, name: str, default: Any = ...) -> Node:
        """Return the field called ``name``, or ``default`` where it is absent and a default is given."""
        where = f"{self.where}.{name}" if self.where else name
        if name not in self.values and default is ...:
            raise FormatError(f"{where}: missing")
        return Node(value=self.values.get(name, default), where=where)

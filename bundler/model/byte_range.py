"""Which bytes of a file does a client ask for? The ``Range`` field of RFC 9110, section 14."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})", re.ASCII | re.IGNORECASE)


class Unsatisfiable(ValueError):
    """The file has none of the bytes that were asked for (status 416)."""


@dataclass(frozen=True, kw_only=True)
class ByteRange:
    """``length`` bytes from ``start`` on, of a file of ``size``."""

    start: int
    length: int
    size: int

    @property
    def content_range(self) -> str:
        """Return the value of ``Content-Range``."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.size}"


def parse_range(field: str, size: int) -> ByteRange | None:
    """Return what a field asks for of a file of ``size`` bytes; None: all of it.

    Several ranges at once, other units and what does not parse are answered with all of it, as section 14.2 allows.

    Raises:
        Unsatisfiable: The file ends before the range begins.
    """
    match = _RANGE.fullmatch(field.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    elif last and int(last) < int(first):
        return None
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise Unsatisfiable(f"no bytes from {start} on")
    return ByteRange(start=start, length=end - start, size=size)

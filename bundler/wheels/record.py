"""RECORD of a wheel: its rows, their hashes, and which member names are safe. Pure.

See the PyPA specification "Recording installed projects", The RECORD file, and "Binary distribution format".
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from dataclasses import dataclass
from typing import Any

#: Hashes that the binary distribution format allows: sha256 or better.
STRONG = frozenset({"sha256", "sha384", "sha512"})
_LONGEST_NAME = 1024
_COLUMNS = 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row; ``algorithm`` and ``value`` are empty where RECORD gives no hash, ``size`` None where no size."""

    path: str
    algorithm: str
    value: str
    size: int | None

    def matches(self, digest: Any) -> bool:
        """Return whether ``digest`` (a hashlib object) is the row's hash."""
        encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
        return encoded == self.value.rstrip("=")


def hash_of(row: Row) -> Any | None:
    """Return a fresh hash object of the row's algorithm, or None where that is missing or weak."""
    return hashlib.new(row.algorithm) if row.algorithm in STRONG and row.value else None


def parse_record(data: bytes) -> tuple[dict[str, Row], list[tuple[str, str]]]:
    """Return the rows by path, and (path, fault) of what is wrong with them."""
    rows: dict[str, Row] = {}
    faults = []
    try:
        parsed = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        return {}, [("RECORD", f"is no table: {error}")]
    for cells in filter(None, parsed):
        path = cells[0]
        size = cells[2] if len(cells) == _COLUMNS else ""
        if len(cells) != _COLUMNS or not (size == "" or (size.isascii() and size.isdigit())):
            faults.append((path, "has a malformed row in RECORD"))
            continue
        if path in rows:
            faults.append((path, "is in RECORD twice"))
        algorithm, _, value = cells[1].partition("=")
        rows[path] = Row(path=path, algorithm=algorithm.lower(), value=value, size=int(size) if size else None)
    return rows, faults


def unsafe(name: str) -> str:
    """Return why a member may not be called ``name``, or nothing."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts:
        return "has a name that leaves the installation directory"
    if "" in parts or "." in parts or "\\" in name or len(name) > _LONGEST_NAME:
        return "has a name that is not normalised"
    if any(ord(char) < ord(" ") or char == "\x7f" for char in name):
        return "has control characters in its name"
    return ""

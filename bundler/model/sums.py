"""``SHA256SUMS``: the only bytes that are signed. GNU format, flat names, C-sorted.

A name has no ``/``, so that a path cannot be written at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bundler.errors import FormatError
from bundler.model.contents import MAX_SUMS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_LINE = re.compile(rb"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._+-]{0,199})")
#: Names that start so are the list itself and its signatures; the list never names them.
OWN = "SHA256SUMS"
#: A signature over it, by its signer's name.
SIGNATURE = re.compile(r"SHA256SUMS\.([a-z0-9-]{1,32})\.sig")


def parse_sums(data: bytes) -> dict[str, str]:
    """Return name → SHA-256 of every listed file.

    Raises:
        FormatError: Anything but the one way to write the list.
    """
    if len(data) > MAX_SUMS:
        raise FormatError(f"SHA256SUMS is larger than {MAX_SUMS} bytes")
    if not data.endswith(b"\n"):
        raise FormatError("SHA256SUMS is empty or its last line has no end")
    sums: dict[str, str] = {}
    previous = ""
    for number, line in enumerate(data[:-1].split(b"\n"), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise FormatError(f"SHA256SUMS line {number}: not '<sha256>  <name>'")
        name = match[2].decode("ascii")
        if name <= previous:
            raise FormatError(f"SHA256SUMS line {number}: {name} is out of order or listed twice")
        if name.startswith(OWN):
            raise FormatError(f"SHA256SUMS line {number}: {name} cannot be listed in itself")
        sums[name] = match[1].decode("ascii")
        previous = name
    return sums


def format_sums(sums: Mapping[str, str]) -> bytes:
    """Return the list as bytes; the inverse of :func:`parse_sums`.

    Raises:
        FormatError: A name or digest that cannot be listed.
    """
    data = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode("utf-8", "surrogateescape")
    parse_sums(data)
    return data

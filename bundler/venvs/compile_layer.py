"""Compile Python sources out of a spool into another: run by the interpreter of a target, imported by nobody.

Arguments: the full version that the interpreter must have, the spool to read, the spool to write. Standard input:
``offset size path`` for each source, each ended by a NUL. Standard output: ``size path`` for each result in the
same order, or ``- path`` where the source does not compile. Results are .pyc files with a checked hash (PEP 552).

Python 3.9 can run this; it imports little because it is started for every layer.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # our own directory: its modules are not the target's

import gc
import marshal

# What importlib.util gives the same names to, without its start-up: it would be a tenth of the time of a layer.
from _frozen_importlib_external import MAGIC_NUMBER
from _imp import source_hash

#: importlib.util.source_hash is _imp.source_hash with this key.
_KEY = int.from_bytes(MAGIC_NUMBER, "little")
_CHECKED = (0b11).to_bytes(4, "little")
_WRONG_VERSION = 3


def main(version: str, source: str, result: str) -> int:
    """Compile what standard input lists; return the exit status."""
    own = ".".join(str(part) for part in sys.version_info[:3])
    if own != version:
        sys.stderr.write(own)
        return _WRONG_VERSION
    gc.disable()  # compiling makes no cycles worth a search
    listed = sys.stdin.buffer.read().split(b"\0")[:-1]
    with open(source, "rb") as reader, open(result, "xb") as writer:  # noqa: PTH123 -- pathlib doubles the start-up
        for line in listed:
            offset, size, path = line.split(b" ", 2)
            reader.seek(int(offset))
            compiled = compile_one(reader.read(int(size)), path.decode("utf-8", "surrogateescape"))
            writer.write(compiled)
            sys.stdout.buffer.write((str(len(compiled)) if compiled else "-").encode() + b" " + path + b"\0")
    return 0


def compile_one(text: bytes, path: str) -> bytes:
    """Return the .pyc of ``text``, or nothing where it is no Python of this version."""
    try:
        code = compile(text, path, "exec", dont_inherit=True, optimize=0)
    except Exception:  # noqa: BLE001 -- besides SyntaxError: ValueError, RecursionError, UnicodeError, by version
        return b""
    return MAGIC_NUMBER + _CHECKED + source_hash(_KEY, text) + marshal.dumps(code)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))

"""Relocatable scripts: they find ``python`` beside themselves, wherever the venv lies and through any link.

A script starts as a shell script whose second and third line are one string to Python:

    #!/bin/sh
    '''exec' "$(dirname -- "$(realpath -- "$0")")"/'python' "$0" "$@"
    ' '''

That string would take the place of a docstring and move an encoding line, so scripts that begin with either keep
their bytes under another name and get a launcher.
"""

from __future__ import annotations

import io
import re
import tokenize

from bundler.errors import LayerError

#: What a data script that wants the venv's interpreter begins with (binary distribution format, PyPA).
MARK = b"#!python"
#: Longest Python script that is read as a whole (bytes).
MAX_SCRIPT = 16 << 20
_HARMLESS = re.compile(rb"[A-Za-z0-9_=,.:/+-]+")
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)")
_PREAMBLE = b"""\
#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")"/'python'%(arguments)s "$0" "$@"
' '''
"""
_CALL = """\
import sys
from {module} import {name}
if __name__ == "__main__":
    sys.exit({attr}())
"""
#: Runs the kept script as ``__main__`` with ``__file__`` and ``sys.argv`` as if it stood here.
_LAUNCHER = """\
__doc__ = None
def _kept():
    import os
    path = os.path.join(os.path.dirname(os.path.realpath(__file__)), {kept!a})
    with open(path, "rb") as file:
        return compile(file.read(), path, "exec", dont_inherit=True)
exec(globals().pop("_kept")(), globals())
"""


def entry_point_script(module: str, attr: str) -> bytes:
    """Return the script that calls ``attr`` of ``module`` and exits with what it returns."""
    call = _CALL.format(module=module, name=attr.split(".", maxsplit=1)[0], attr=attr)
    return _preamble(()) + call.encode()


def data_script(name: str, data: bytes) -> dict[str, bytes]:
    """Return the files in ``bin`` that stand for a Python script of a wheel, by name.

    ``data`` begins with :data:`MARK`.

    Raises:
        LayerError: Its first line has arguments that a shell would read otherwise.
    """
    first, _, rest = data.partition(b"\n")
    arguments = tuple(first[2:].split()[1:])
    if not all(_HARMLESS.fullmatch(argument) for argument in arguments):
        line = first.decode("utf-8", "replace")
        raise LayerError(f"script {name!r} begins with {line!r}", hint="use plain options after #!python")
    if not must_keep_bytes(rest):
        return {name: _preamble(arguments) + rest}
    kept = f".{name}.py"
    return {name: _preamble(arguments) + _LAUNCHER.format(kept=kept).encode(), kept: data}


def must_keep_bytes(rest: bytes) -> bool:
    """Return whether a script cannot have the preamble before ``rest``, which is all but its first line."""
    if _COOKIE.match(rest.partition(b"\n")[0]):
        return True
    try:
        rest.decode("utf-8")
        for token in tokenize.tokenize(io.BytesIO(rest).readline):
            if token.type in (tokenize.ENCODING, tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE):
                continue
            future = token.type == tokenize.NAME and re.match(r"\s*from\s+__future__\b", token.line)
            return token.type == tokenize.STRING or bool(future)
    except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
        return True
    return False


def _preamble(arguments: tuple[bytes, ...]) -> bytes:
    return _PREAMBLE % {b"arguments": b"".join(b" " + argument for argument in arguments)}

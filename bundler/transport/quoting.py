"""A command for the login shell of a far end, which is all that the SSH protocol can carry (RFC 4254 §6.5)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def far_command(argv: Sequence[str]) -> str:
    """Return one string that any POSIX shell turns into exactly these arguments.

    ``exec`` runs the program itself, not a builtin or a word of the shell that has its name.
    """
    if any("\0" in word for word in argv):
        raise ValueError("an argument holds a NUL")
    return f"exec {shlex.join(argv)}"

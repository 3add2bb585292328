"""The valid name that is nearest to a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, valid: Iterable[str], *, listed: bool = True) -> str:
    """Return the hint that names what is nearest to ``name``; where nothing is, all that is valid if ``listed``."""
    known = sorted(valid)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(known)}" if known and listed else ""

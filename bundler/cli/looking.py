"""How the commands that look into bundles write what they found."""

from __future__ import annotations

from collections.abc import Sequence

from bundler.model.text import printable

__all__ = ["places", "printable", "short", "some"]

#: More names than this in one cell help nobody.
_NAMED = 3


def some(names: Sequence[str], what: str, most: int = _NAMED) -> str:
    """Return a few names, or how many there are: ``a, b`` or ``12 targets``."""
    return printable(", ".join(names)) if len(names) <= most else f"{len(names)} {what}"


def places(venvs: Sequence[str], targets: Sequence[str]) -> str:
    """Return in which venvs and on which targets something is."""
    inside = [name or "no venv" for name in venvs]
    return f"{some(inside, 'venvs')} on {some(targets, 'targets', 1)}"


def short(digest: str) -> str:
    """Return enough of a digest for the eye."""
    return digest[:12]

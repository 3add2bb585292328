"""Text for people: sizes, and names that come from elsewhere. Pure."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return ``text`` with everything that could act on a reader's screen (controls, bidirectional marks) escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def human_size(size: float) -> str:
    """Return ``size`` bytes as people read it: 12.3 MB (decimal units)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004  # decimal units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"

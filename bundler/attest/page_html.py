"""Pieces of HTML that are safe whatever the text holds: everything from elsewhere goes through ``text``."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from bundler.model.text import human_size, printable

#: More names than this in one cell are folded.
_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column's heading; ``number`` aligns right and sorts by size, ``plain`` is not sorted."""

    title: str
    number: bool = False
    plain: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: ``rows`` are lists of ``<td>``; the first cell of each is its heading. ``name`` is its id."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Iterable[str]

    def html(self) -> str:
        """Return the table in a region that a keyboard can scroll; nothing where it has no rows."""
        rows = "\n".join(self.rows)
        if not rows:
            return ""
        heads = "".join(_head(column) for column in self.columns)
        return (
            f'<div class="wide" role="region" aria-labelledby="{self.name}-caption" tabindex="0">'
            f'<table id="{self.name}"><caption id="{self.name}-caption">{text(self.caption)}</caption>'
            f"<thead><tr>{heads}</tr></thead><tbody>\n{rows}\n</tbody></table></div>"
        )


def _head(column: Column) -> str:
    marks = ' class="n"' if column.number else ""
    marks += " data-plain" if column.plain else ""
    return f'<th scope="col"{marks}>{text(column.title)}</th>'


def text(value: object) -> str:
    """Return ``value`` as it may stand in HTML and in attributes; controls and bidirectional marks are spelt out."""
    return escape(printable(str(value)))


def code(value: object) -> str:
    """Return ``value`` in the font of machines."""
    return f"<code>{text(value)}</code>"


def row(heading: str, *cells: str, data: str = "") -> str:
    """Return a row of cells that are HTML already; ``data`` are attributes of it."""
    return f'<tr{data}><th scope="row">{heading}</th>{"".join(cells)}</tr>'


def cell(html: str) -> str:
    """Return a cell."""
    return f"<td>{html}</td>"


def count(number: int) -> str:
    """Return a cell with a number."""
    return f'<td class="n" data-v="{number}">{number}</td>'


def size(number: int) -> str:
    """Return a cell with bytes, as people read them."""
    return f'<td class="n" data-v="{number}">{human_size(number)}</td>'


def names(values: Sequence[str], what: str) -> str:
    """Return a few names, or how many there are, to be unfolded."""
    listed = text(", ".join(values))
    return listed if len(values) <= _NAMED else f"<details><summary>{len(values)} {what}</summary>{listed}</details>"


def wide(html: str) -> str:
    """Return a cell with a sentence."""
    return f'<td class="w">{html}</td>'


def whole(value: str) -> str:
    """Return a cell that is never broken into lines."""
    return f'<td class="t">{text(value)}</td>'


def targets(values: Iterable[str]) -> str:
    """Return a cell with names of targets, each on a line."""
    return f'<td class="t">{"<br>".join(map(text, values))}</td>'


def listed(items: Iterable[str]) -> str:
    """Return a list of items that are HTML already."""
    lines = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{lines}</ul>" if lines else ""


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names with values that are HTML already; pairs without a value are left out."""
    shown = "".join(f"<div><dt>{text(name)}</dt><dd>{value}</dd></div>" for name, value in pairs if value)
    return f"<dl>{shown}</dl>"


def document(title: str, body: str) -> bytes:
    """Return the whole page: its style and its script are the only ones that its policy allows (CSP level 3)."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>{style}</style></head>\n<body>\n{body}\n"
        f"<script>{script}</script>\n</body></html>\n"
    ).encode()


def _asset(name: str) -> str:
    return resources.files("bundler.attest").joinpath("data").joinpath(name).read_text("utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"

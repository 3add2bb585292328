"""The part of a bundle's page that says what changed since another bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bundler.attest.page_html import Column, Table, cell, code, count, facts, names, row, size, targets, text
from bundler.model.bundle_diff import BundleDiff, group_changes


def changes_section(diff: BundleDiff) -> str:
    """Return the section."""
    counts = Counter(one.change for one in diff.files)
    pairs = [
        ("Compared with", code(diff.old)),
        ("Targets that are new", text(", ".join(diff.targets_added))),
        ("Targets that are gone", text(", ".join(diff.targets_removed))),
        ("Files", f"{counts['added']} added, {counts['removed']} removed, {counts['changed']} changed"),
    ]
    parts = (facts(pairs), _packages(diff), _venvs(diff), _needed(diff))
    return "".join(part for part in parts if part)


def _packages(diff: BundleDiff) -> str:
    changes = group_changes(diff.venvs)
    columns = [Column(title=title) for title in ("Package", "Change", "Was", "Is", "Venvs", "Targets")]
    rows = (
        row(
            text(one.name),
            cell(text(one.change)),
            cell(text(one.old)),
            cell(text(one.new)),
            cell(names([venv or "in no venv" for venv in one.venvs], "venvs")),
            targets(one.targets),
        )
        for one in changes
    )
    caption = f"Packages that changed: {len(changes)}. Rebuilt: the same version, another wheel. "
    caption += "Relayered: the same wheel, other layers."
    table = Table(name="changed-packages", caption=caption, columns=columns, rows=rows)
    return table.html() or "<p>No package changed.</p>"


def _venvs(diff: BundleDiff) -> str:
    columns = [Column(title=title) for title in ("Venv", "Target", "What", "Was", "Is")]
    table = Table(name="changed-venvs", caption="Venvs that changed", columns=columns, rows=_facts(diff))
    return table.html()


def _facts(diff: BundleDiff) -> Iterator[str]:
    for venv in diff.venvs:
        if not venv.venv:
            continue
        if venv.change != "changed":
            yield row(text(venv.venv), targets([venv.target]), cell(text(venv.change)), cell(""), cell(""))
        for fact in venv.facts:
            cells = (cell(text(value)) for value in (fact.fact, fact.old, fact.new))
            yield row(text(venv.venv), targets([venv.target]), *cells)


def _needed(diff: BundleDiff) -> str:
    columns = [
        Column(title="For"),
        Column(title="Blobs", number=True),
        Column(title="Size", number=True),
        Column(title="On the medium", number=True),
    ]
    rows = (
        row(text(one.target or "all targets"), count(one.blobs), size(one.size), size(one.packed))
        for one in diff.needed
    )
    caption = "What a site that has the other bundle lacks"
    return Table(name="needed", caption=caption, columns=columns, rows=rows).html()

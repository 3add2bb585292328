"""`bundle-build constraints`: what the constraint layers say together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bundler.cli.context import Output
from bundler.model.lock import Shadowed
from bundler.store.cas import Store, default_root
from bundler.workflows.constraints import ConstraintGroup, show_constraints


@click.group("constraints")
def command() -> None:
    """Show the effective constraints of a manifest."""


@command.command("show")
@click.argument("manifest", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--group", "only", default="", metavar="NAME", help="Only this group, or the one of this venv.")
@click.option("--lost", is_flag=True, help="Only the constraints that lost to a higher layer.")
@click.pass_obj
def show(output: Output, manifest: Path, only: str, lost: bool) -> None:
    """Print the effective constraints file of MANIFEST, and who lost, as comments.

    Each line says from which layer, file and line it comes. Venvs with the same layers share one file.
    """
    groups = show_constraints(manifest, Store(output.store_path or default_root()), output.emit, only=only)

    def render() -> None:
        for group in groups:
            output.out("\n".join(_lines(group, lost=lost)))

    output.show([_plain(group, lost=lost) for group in groups], render)


def _lines(group: ConstraintGroup, *, lost: bool) -> Iterator[str]:
    yield f"# Group {group.name}: {', '.join(group.venvs)}"
    if not lost:
        yield group.effective.text.rstrip("\n")
    yield from _report(group.effective.shadowed)


def _report(shadowed: Sequence[Shadowed]) -> Iterator[str]:
    if not shadowed:
        yield "# No constraint lost to a higher layer."
    for one in shadowed:
        yield f"# Lost: {one.loser} ({one.loser_where}) to {one.winner} ({one.winner_where})"


def _plain(group: ConstraintGroup, *, lost: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "group": group.name,
        "venvs": list(group.venvs),
        "lost": [asdict(one) for one in group.effective.shadowed],
    }
    if not lost:
        found["layers"] = [asdict(record) for record in group.records]
        found["constraints"] = [
            {"name": entry.name, "requirement": entry.requirement, "layer": entry.layer, "where": entry.where}
            for entry in group.effective.entries
        ]
    return found

"""How stages are called and counted: titles, sizes, and the table at the end of a run."""

from __future__ import annotations

import dataclasses

from rich.table import Table

from bundler.events import StageFinished
from bundler.model.text import human_size

__all__ = ["TITLES", "Summary", "human_size", "stage_line", "title"]

#: What people read for a stage's name.
TITLES = {
    "resolve": "Resolve",
    "systems": "Root file systems",
    "fetch": "Fetch",
    "git": "Git sources",
    "build": "Build wheels",
    "check": "Check wheels",
    "libraries": "Look for libraries",
    "layers": "Make layers",
    "archives": "Venv archives",
    "proof": "Prove venvs",
    "attest": "SBOM, provenance",
    "installer": "Installer",
    "pack": "Pack",
    "sign": "Sign",
    "verify": "Verify",
    "decode": "Decode all",
    "stage": "Copy from the medium",
    "look": "Look at hosts",
    "push": "Push and prove",
    "unpack": "Unpack venvs",
    "activate": "Activate",
    "visible": "Look at followers",
    "rollback": "Go back",
    "prune": "Prune",
    "compare": "Check hosts",
    "repair": "Repair",
    "extract": "Extract",
    "store": "Check the store",
}


def title(stage: str) -> str:
    """Return what people read for ``stage``."""
    return TITLES.get(stage, stage)


def stage_line(event: StageFinished) -> str:
    """Return one finished stage as a line."""
    parts = [f"{title(event.stage)}: {event.seconds:.1f} s"]
    if event.items:
        parts.append("1 item" if event.items == 1 else f"{event.items} items")
    if event.reused:
        parts.append(f"{event.reused} reused")
    if event.size:
        parts.append(human_size(event.size))
    return ", ".join(parts)


class Summary:
    """The figures of finished stages, for the table at the end."""

    def __init__(self) -> None:
        self.stages: dict[str, StageFinished] = {}

    def add(self, event: StageFinished) -> None:
        """Take the figures of a stage; those of a stage that ran several times are added up."""
        old = self.stages.get(event.stage)
        if old is not None:
            event = dataclasses.replace(
                event,
                seconds=old.seconds + event.seconds,
                items=old.items + event.items,
                reused=old.reused + event.reused,
                size=old.size + event.size,
            )
        self.stages[event.stage] = event

    def table(self, elapsed: float) -> Table:
        """Return time, items and size per stage; ``elapsed`` is the run's own time, for stages may overlap."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("stage")
        for name in ("time", "items", "reused", "size"):
            table.add_column(name, justify="right")
        for stage in self.stages.values():
            table.add_row(
                title(stage.stage),
                f"{stage.seconds:.1f} s",
                str(stage.items or ""),
                str(stage.reused or ""),
                human_size(stage.size) if stage.size else "",
            )
        table.add_row("whole run", f"{elapsed:.1f} s", "", "", "", style="bold")
        return table

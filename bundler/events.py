"""What library code tells whoever watches: events of a kind, never text on a stream.

The CLI renders them as progress bars, as plain lines or as JSON lines. A stage has a fixed name
(``resolve``, ``systems``, ``fetch``, ``build``, ``layers``, ``archives``, ``proof``, ``pack``, ``sign``, ``verify``);
an item is one file, package or venv inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Unit: TypeAlias = Literal["bytes", "items"]


@dataclass(frozen=True, kw_only=True)
class StageStarted:
    """A stage begins; ``total`` in ``unit`` where it is known."""

    stage: str
    total: int | None = None
    unit: Unit = "items"


@dataclass(frozen=True, kw_only=True)
class StageAdvanced:
    """``amount`` more of the stage's unit is done."""

    stage: str
    amount: int = 1


@dataclass(frozen=True, kw_only=True)
class ItemStarted:
    """Work on one item begins: shown as "what is running"."""

    stage: str
    item: str


@dataclass(frozen=True, kw_only=True)
class ItemFinished:
    """Work on one item is over; ``note`` says how, e.g. ``reused``."""

    stage: str
    item: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class StageFinished:
    """A stage is over; the figures feed the summary table."""

    stage: str
    seconds: float
    items: int = 0
    reused: int = 0
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class Noted:
    """Something worth a line for the user.

    ``prompt``: a program asks on the terminal now; nothing may be drawn there until the next event.
    """

    message: str
    prompt: bool = False


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something the user should look at; the run goes on."""

    message: str
    hint: str = ""


Event: TypeAlias = StageStarted | StageAdvanced | ItemStarted | ItemFinished | StageFinished | Noted | Warned
Emit: TypeAlias = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Drop the event: the default observer."""

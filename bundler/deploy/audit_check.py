"""Does the audit log still say what was written? Finds lines that were edited, removed, added or moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bundler.deploy.audit import RECOVERED, START, AuditLog, Line, Record
from bundler.errors import Problem


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """``records``: how many; ``head``: digest of the last; ``recovered``: torn lines that were healed, not hidden."""

    records: int
    head: str
    problems: tuple[Problem, ...]
    recovered: tuple[str, ...] = ()


@dataclass(kw_only=True)
class _Chain:
    """Walks the lines and remembers what the next record has to follow."""

    name: str
    last: Record | None = None
    torn: list[Line] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)

    @property
    def head(self) -> str:
        return self.last.digest if self.last else START

    @property
    def number(self) -> int:
        return self.last.number if self.last else 0

    def take(self, line: Line) -> None:
        if line.record is None:
            self.torn.append(line)
            return
        if self.torn:
            self._after_torn(line.record)
        elif line.record.prev != self.head:
            self._broken(line.record)
        elif line.record.number != self.number + 1:
            self._add(line.number, f"has number {line.record.number} where {self.number + 1} follows")
        self.last = line.record
        self.places[line.digest] = line.number

    def _after_torn(self, record: Record) -> None:
        """Torn lines are in the chain if the record after them says so; else somebody made them."""
        digests = [line.digest for line in self.torn]
        vouched = record.event == RECOVERED and record.prev == digests[-1] and record.facts.get("torn") == digests
        if vouched and record.facts.get("after") == self.head and record.number == self.number + 1:
            names = ", ".join(str(line.number) for line in self.torn)
            self.recovered.append(f"line {names}: torn by a kill, healed at {record.time}")
        else:
            for line in self.torn:
                self._add(line.number, "is no record: it was edited")
        self.torn = []

    def _broken(self, record: Record) -> None:
        gap = record.number - self.number - 1
        origin = self.places.get(record.prev)
        if record.prev in self.places or gap < 0:
            after = f"line {origin}" if origin else "a line that is not before it"
            self._add(record.line, f"was moved or lines before it were added: it was written after {after}")
        elif gap > 0:
            self._add(
                record.line, f"{gap} record{'s' if gap > 1 else ''} before it {'are' if gap > 1 else 'is'} missing"
            )
        elif self.last is None:
            self._add(record.line, "says that it is not the first: the log's beginning is missing")
        else:
            self._add(self.last.line, f"was edited: line {record.line} was written after other bytes")

    def end(self) -> None:
        """Judge what comes after the last record: one line without its newline is what a kill leaves."""
        for line in self.torn:
            if line.whole:
                self._add(line.number, "is no record: it was edited")
            else:
                self.recovered.append(f"line {line.number}: torn by a kill, not healed yet")

    def _add(self, line: int, what: str) -> None:
        self.problems.append(Problem(where=f"{self.name} line {line}", what=what))


def check_log(log: AuditLog, heads: Sequence[tuple[str, int, str]] = ()) -> AuditReport:
    """Check the chain, and that it holds each of ``heads``: who says so, the number of a record and its digest.

    The chain alone cannot tell that its end was cut off or its last line edited; heads kept elsewhere can.
    """
    chain = _Chain(name=log.path.name)
    numbers: dict[int, str] = {}
    count = 0
    for line in log.lines():
        chain.take(line)
        if line.record is not None:
            count += 1
            numbers[line.record.number] = line.digest
    chain.end()
    problems = (*chain.problems, *_missing_heads(numbers, heads))
    return AuditReport(records=count, head=chain.head, problems=problems, recovered=tuple(chain.recovered))


def _missing_heads(numbers: dict[int, str], heads: Iterable[tuple[str, int, str]]) -> Iterable[Problem]:
    for name, number, digest in heads:
        if number == 0 or numbers.get(number) == digest:
            continue
        what = "is another one now" if number in numbers else "is gone"
        yield Problem(where=name, what=f"record {number} of the log, its head at that time, {what}")

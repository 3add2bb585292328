"""Evidence as one self-contained HTML page: no script, no image, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from bundler.deploy.audit import Record
from bundler.deploy.evidence import STEPS, Evidence

_STYLE = """\
body{font:15px/1.45 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#111}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:1.6em;border-bottom:1px solid #999}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2em .6em .2em 0}
th{font-weight:600}code{font-size:.85em;overflow-wrap:anywhere}.bad{color:#a00;font-weight:600}"""


def evidence_page(evidence: Evidence) -> str:
    """Return the page."""
    title = f"Evidence: {evidence.bundle}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _head(evidence),
        _section("Signed and checked", _verified(evidence.verified)),
        _section("What was checked, in this order", _steps()),
        _section("State of the site", _recorded(evidence.recorded)),
        _section("Trust", _events(evidence.trust)),
        *(_section(f"Host {name}", _events(records)) for name, records in evidence.hosts.items()),
        _section("Refused", _events(evidence.refused)),
        _section("Audit log", _log(evidence)),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _section(heading: str, body: str) -> str:
    return f"<h2>{escape(heading)}</h2>\n{body}" if body else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already; empty without rows."""
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    top = "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>"
    return "<table>" + "\n".join([top, *lines]) + "</table>" if lines else ""


def _code(text: object) -> str:
    return f"<code>{escape(str(text))}</code>"


def _head(evidence: Evidence) -> str:
    active = sum(1 for records in evidence.hosts.values() if any(one.event == "activated" for one in records))
    rows = [
        ("SHA-256 of SHA256SUMS", _code(evidence.digest)),
        ("Hosts", escape(f"{len(evidence.hosts)} got it, activated on {active}")),
        (
            "This page",
            escape(f"made {evidence.made} by bundle-install {evidence.tool}; {evidence.openssh or 'no ssh'}"),
        ),
    ]
    return "<table>" + "".join(f"<tr><th>{escape(name)}</th><td>{cell}</td></tr>" for name, cell in rows) + "</table>"


def _verified(records: Iterable[Record]) -> str:
    def row(one: Record) -> Sequence[str]:
        facts = one.facts
        signers = ", ".join(map(str, facts.get("signers", ())))
        rule = f"{facts.get('threshold', '?')} needed, by trust version {facts.get('trust_version', '?')}"
        media = ", ".join(map(str, facts.get("media", ())))
        how = "copied and checked" if facts.get("copied") else "checked"
        return (
            escape(one.time),
            escape(signers),
            escape(rule),
            _who(one),
            escape(f"{how}: {media}"),
            escape(one.tool),
        )

    return _table(("when", "signed by", "rule", "checked by", "medium", "tool"), map(row, records))


def _steps() -> str:
    return "<ol>" + "".join(f"<li>{escape(step)}</li>" for step in STEPS) + "</ol>"


def _recorded(records: Iterable[Record]) -> str:
    rows = (
        (escape(one.time), *(escape(str(one.facts.get(key))) for key in ("line", "epoch", "sequence", "floor")))
        for one in records
    )
    return _table(("when", "line", "epoch", "sequence", "floor"), rows)


def _events(records: Iterable[Record]) -> str:
    rows = ((escape(one.time), escape(one.event), _who(one), _facts(one.facts.items())) for one in records)
    return _table(("when", "what", "by", "facts"), rows)


def _facts(facts: Iterable[tuple[str, Any]]) -> str:
    shown = ((name, value) for name, value in facts if name != "host" and value not in ("", [], None))
    return "<br>".join(f"{escape(name)}: {_code(_text(value))}" for name, value in shown)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _who(one: Record) -> str:
    who = one.who
    name = who.get("sudo_user") or who.get("login") or f"uid {who.get('uid')}"
    return escape(f"{name} on {who['tty']}" if who.get("tty") else str(name))


def _log(evidence: Evidence) -> str:
    log = evidence.log
    lines = [f"{log.records} records, head {_code(log.head)}."]
    lines += [escape(note) for note in log.recovered]
    if log.problems:
        lines += [f'<span class="bad">{escape(str(problem))}</span>' for problem in log.problems]
    else:
        lines.append("Its chain is whole, and every receipt of this site finds its head in it.")
    return "<p>" + "<br>\n".join(lines) + "</p>"

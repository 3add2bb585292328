"""`bundle-build review`: what a second signer should look at before `sign`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TypeAlias, cast

import click

from bundler.cli.context import Output
from bundler.cli.looking import places, printable, some
from bundler.errors import UsageError
from bundler.model.review_facts import KINDS, Finding, FindingKind, Review, ReviewedChange
from bundler.workflows.review import ReviewRequest, review

#: Columns and rows.
_Table: TypeAlias = tuple[list[str], list[list[str]]]

_TITLES: Mapping[FindingKind, str] = {
    "pth": "Code that runs whenever Python starts",
    "native": "Native code (ELF files)",
    "script": "Scripts",
    "entry-point": "Entry points",
    "source": "Where things come from",
    "licence": "Licences",
    "proof": "Proof: accepted failures and venvs that were not proved",
    "program": "Programs that the bundle brings",
    "unread": "Wheels that could not be looked into",
}
#: Names of one package that are shown in a row, and characters of a value and of a licence; --json has all.
_NAMES, _VALUE, _LICENCE = 3, 300, 40


@click.command("review")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--against",
    metavar="OLD",
    type=click.Path(exists=True, path_type=Path),
    help="The last bundle that was signed (default: none, so that everything is new).",
)
@click.option(
    "--fail-on",
    default="",
    metavar="KIND,…",
    help=f"End with status 1 where one of these is new or changed: {', '.join(KINDS)}.",
)
@click.pass_context
def command(context: click.Context, /, bundle: Path, against: Path | None, fail_on: str) -> None:
    """Show what changed in BUNDLE since OLD, for whoever is about to sign it.

    Packages with their sources; and of wheels that OLD has not, against OLD's wheels of the same package: .pth files,
    native code, scripts, entry points, licences. New hosts and constraint layers, accepted failures of the proof.

    Every byte that is read is compared with SHA256SUMS; no signature is checked: `bundle-build verify` OLD first.
    """
    output: Output = context.obj
    kinds = _kinds(fail_on)
    found = review(ReviewRequest(bundle=bundle, against=against), output.emit)
    output.show(found.to_data(), lambda: _render(output, found))
    if found.fails(kinds):
        context.exit(1)


def _kinds(text: str) -> tuple[FindingKind, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise UsageError(f"--fail-on: {', '.join(unknown)} is not known", hint=f"known are {', '.join(KINDS)}")
    return tuple(cast("FindingKind", name) for name in names)


def _render(output: Output, found: Review) -> None:
    output.out(f"{found.bundle}, SHA256SUMS {found.digest}, made by {printable(found.tool)}")
    output.out(f"  against {found.against}" if found.against else "  against nothing: everything is new")
    output.out("")
    if found.packages:
        columns = ["change", "package", "was", "is", "kind", "licence", "where", "from"]
        output.table("Packages", columns, [_package(one) for one in found.packages])
    else:
        output.out("No package changed.")
    for kind in KINDS:
        findings = found.of_kind(kind)
        if findings:
            output.out("")
            columns, rows = _ROWS.get(kind, _plain)(findings)
            output.table(f"{_TITLES[kind]}: {len(findings)}", columns, rows)
    quiet = [_TITLES[kind].lower() for kind in KINDS if kind != "unread" and not found.of_kind(kind)]
    if quiet:
        output.out(f"\nNothing new: {', '.join(quiet)}.")


def _package(one: ReviewedChange) -> list[str]:
    change = one.change
    sources = [f"{source.uri} {source.digest}" for source in one.sources]
    return [
        change.change,
        printable(change.name),
        printable(change.old),
        printable(change.new),
        one.kind,
        _cut(one.licence, _LICENCE),
        places(change.venvs, change.targets),
        some(sources, "files", 1),
    ]


def _cut(text: str, most: int) -> str:
    """Return ``text`` for the eye; what is cut off is said, so that nothing hides there."""
    shown = printable(text)
    return shown if len(shown) <= most else f"{shown[:most]}… ({len(shown) - most} more characters, --json has them)"


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _NAMES} more (--json lists them)"] if len(names) > _NAMES else []
    return printable(", ".join([*names[:_NAMES], *more]))


def _of(finding: Finding) -> str:
    return printable(f"{finding.subject} {finding.version}".strip())


def _plain(findings: Sequence[Finding]) -> _Table:
    rows = [
        [
            one.state,
            _of(one),
            printable(one.name),
            some(one.where, "targets", 1),
            _cut(one.old, _VALUE),
            _cut(one.detail, _VALUE),
        ]
        for one in findings
    ]
    return ["", "of", "what", "where", "was", "is"], rows


def _native(findings: Sequence[Finding]) -> _Table:
    rows = [
        [_of(group[0]), str(len(group)), some(group[0].where, "targets", 1), _listed([one.name for one in group])]
        for group in _by_package(findings)
    ]
    return ["of", "#new", "where", "files"], rows


def _points(findings: Sequence[Finding]) -> _Table:
    """Return changed ones in full, new ones summed up: one service has hundreds."""
    columns, rows = _plain([one for one in findings if one.state == "changed"])
    for group in _by_package([one for one in findings if one.state != "changed"]):
        names = _listed([one.name for one in group])
        rows.append(["new", _of(group[0]), f"{len(group)}: {names}", some(group[0].where, "targets", 1), "", ""])
    return columns, rows


def _by_package(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Return the findings of each package and set of targets together."""
    ordered = sorted(findings, key=lambda one: (one.subject, one.version, one.where, one.name))
    return [list(group) for _, group in groupby(ordered, lambda one: (one.subject, one.version, one.where))]


_ROWS: Mapping[FindingKind, Callable[[Sequence[Finding]], _Table]] = {"native": _native, "entry-point": _points}

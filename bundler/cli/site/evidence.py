"""`bundle-install evidence`: one page for the security officer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.site_options import site_options
from bundler.deploy.evidence import Evidence
from bundler.deploy.places import Places
from bundler.workflows.site.evidence import check_evidence, make_evidence

_EXAMPLES = epilog(
    "bundle-install evidence --out evidence.html",
    "bundle-install evidence openstack-2026.1-1795123456 --json",
    "bundle-install evidence --check",
)


@click.command("evidence", epilog=_EXAMPLES)
@click.argument("bundle", required=False, default="", metavar="[BUNDLE-ID]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it here as one HTML page.")
@click.option("--check", is_flag=True, help="Only check the audit log: was a line edited, removed or moved?")
@site_options
@click.pass_obj
def command(output: Output, places: Places, bundle: str, out: Path | None, *, check: bool) -> None:
    """Say who signed BUNDLE-ID (default: the last one), what was checked, when, by what, and on which hosts it is."""
    if not check:
        evidence = make_evidence(places, bundle, out)
        output.show(evidence.value(), lambda: _render(output, evidence, out))
        return
    if bundle or out:
        raise click.UsageError("--check is about the whole log: give no BUNDLE-ID and no --out")
    report = check_evidence(places)

    def render() -> None:
        output.out(f"{places.log}: {report.records} records, as they were written; head {report.head}")
        for note in report.recovered:
            output.out(f"  {note}")

    output.show(asdict(report), render)


def _render(output: Output, evidence: Evidence, out: Path | None) -> None:
    last = evidence.verified[-1]
    output.out(f"{evidence.bundle}: SHA256SUMS is {evidence.digest}")
    signers = ", ".join(map(str, last.facts.get("signers", ())))
    rule = f"{last.facts.get('threshold', '?')} needed, trust version {last.facts.get('trust_version', '?')}"
    output.out(f"  signed by {signers} ({rule}); accepted {last.time} by bundle-install {last.tool}")
    rows = [(name, one.event, one.time) for name, records in evidence.hosts.items() for one in records]
    if rows:
        output.table("", ("host", "event", "when"), rows)
    output.out(f"  log: {evidence.log.records} records, head {evidence.log.head}")
    for problem in evidence.log.problems:
        output.out(f"  NOT AS WRITTEN: {problem}")
    if out:
        output.out(f"written to {out}")

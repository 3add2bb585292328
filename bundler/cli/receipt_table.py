"""A receipt as both command lines show it."""

from __future__ import annotations

from bundler.cli.context import Output
from bundler.model.site_receipt import Receipt


def render_receipt(output: Output, receipt: Receipt) -> None:
    """Show which host of a site has what."""
    trust = f"trust version {receipt.trust_version}" if receipt.trust_version else "no trust yet"
    output.out(f"site {receipt.site} at {receipt.time}: {trust}, bundle-install {receipt.tool}")
    rows = [(host.name, "active", held.bundle, held.since) for host in receipt.hosts for held in host.active]
    rows += [(host.name, "held", held.bundle, held.since) for host in receipt.hosts for held in host.staged]
    if rows:
        output.table("", ("host", "", "bundle", "since"), sorted(rows))
    else:
        output.out("  no host has been given anything")
    for host_receipt in receipt.signed:
        said = ", ".join(f"{bundle} {state}" for bundle, state in host_receipt.releases) or "nothing"
        output.out(f"  {host_receipt.name} itself says, signed with its host key: {said}")
    for line, highest in receipt.sequences.items():
        output.out(f"  newest accepted: {line}-{highest.sequence}")
    output.out(f"  log: {receipt.records} records, head {receipt.head}")

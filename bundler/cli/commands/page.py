"""`bundle-build page`: a bundle as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.render import human_size
from bundler.errors import UsageError
from bundler.workflows.page import PageRequest, WrittenPage, write_page
from bundler.workflows.verify import VerifyRequest


@click.command("page")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--previous",
    metavar="BUNDLE",
    type=click.Path(exists=True, path_type=Path),
    help="Also show what changed since this bundle.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Where it goes (default: beside the bundle, ID.html).")
@click.option(
    "--allowed-signers",
    type=click.Path(path_type=Path),
    help="Verify the bundle by these signers first, and say so (default: signatures are only quoted).",
)
@click.option("-n", "--threshold", type=click.IntRange(min=1), help="How many of them must have signed (default: 1).")
@click.pass_obj
def command(output: Output, /, bundle: Path, allowed_signers: Path | None, threshold: int | None,
            **paths: Path | None) -> None:  # fmt: skip
    """Write BUNDLE as one HTML page: signatures, targets, venvs, proofs, packages, sizes, changes.

    The page needs nothing but a browser: it works from a stick, without a network. bundle.json is compared with
    SHA256SUMS; signatures are checked with --allowed-signers only, and the page says which.
    """
    if threshold is not None and allowed_signers is None:
        raise UsageError("--threshold says nothing without --allowed-signers")
    policy = None
    if allowed_signers is not None:
        policy = VerifyRequest(bundle=bundle, allowed_signers=allowed_signers, threshold=threshold or 1)
    written = write_page(PageRequest(bundle=bundle, policy=policy, **paths), output.emit)
    output.show(_value(written), lambda: _render(output, written))


def _value(written: WrittenPage) -> dict[str, object]:
    facts = written.facts
    return {
        "page": str(written.path),
        "size": written.size,
        "sha256": written.sha256,
        "bundle": facts.bundle.contents.id,
        "packages": len(facts.packages),
        "signatures": {one.name: one.standing for one in facts.signatures},
    }


def _render(output: Output, written: WrittenPage) -> None:
    standing = "signatures verified" if written.facts.rule else "signatures quoted, not checked"
    output.out(f"{written.path}: {human_size(written.size)}, {len(written.facts.packages)} packages, {standing}")

"""`bundle-build store`: check, prune, size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from bundler.cli.context import Output
from bundler.cli.stages import human_size
from bundler.store.cas import Store, default_root
from bundler.workflows.store import Share, check_store, measure_store, prune_store


@click.group("store")
def command() -> None:
    """Check, measure and prune the store of downloads, wheels and layers."""


@command.command("check")
@click.pass_obj
def check(output: Output) -> None:
    """Read every blob of the store again; remove and name those that are damaged."""
    store = _store(output)
    found = check_store(store, output.emit)
    value = {"store": str(store.root), "blobs": found.count, "size": found.size}
    output.show(value, lambda: output.out(f"blobs: {found.count}, {human_size(found.size)}, all sound: {store.root}"))


@command.command("prune")
@click.option(
    "--older-than", "days", type=click.IntRange(0), default=30, show_default=True, metavar="DAYS",
    help="Remove what no run used for so many days.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.pass_obj
def prune(output: Output, days: int, dry_run: bool) -> None:
    """Remove what no build used for long: blobs, references, mirrors, logs, failed trees, unfinished work.

    A build that needs any of it fetches or makes it again. Nothing is removed while another run uses the store.
    """
    store = _store(output)
    _show(output, store, prune_store(store, days, dry_run=dry_run), "nothing to remove")


@command.command("size")
@click.pass_obj
def size(output: Output) -> None:
    """Say how much the store holds, by kind."""
    store = _store(output)
    _show(output, store, measure_store(store), "empty")


def _store(output: Output) -> Store:
    return Store(output.store_path or default_root())


def _show(output: Output, store: Store, shares: Sequence[Share], nothing: str) -> None:
    total = sum(share.size for share in shares)
    rows = [(share.kind, str(share.count), human_size(share.size)) for share in shares]
    rows.append(("total", str(sum(share.count for share in shares)), human_size(total)))

    def render() -> None:
        if shares:
            output.table(str(store.root), ("kind", "#count", "#size"), rows)
        else:
            output.out(f"{store.root}: {nothing}")

    output.show({"store": str(store.root), "size": total, "kinds": [asdict(share) for share in shares]}, render)

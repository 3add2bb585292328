"""`bundle-build lock`: which packages, exactly, and where each comes from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bundler.cli.context import Output
from bundler.model.lock import Shadowed
from bundler.model.lock_diff import LockDiff
from bundler.resolve.coverage import table
from bundler.store.cas import Store, default_root
from bundler.workflows.lock import LockRequest, LockResult, lock

_MARKS = {"added": "+", "removed": "-", "changed": "~"}


@click.command("lock")
@click.argument("manifest", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--lock-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the lock is (default: beside MANIFEST, named after it).",
)
@click.option("--upgrade", "-U", is_flag=True, help="Forget the versions of the lock that is there.")
@click.option(
    "--upgrade-package", "-P", "packages", multiple=True, metavar="NAME", help="Forget the version of this package."
)
@click.option("--locked", is_flag=True, help="Fail where the lock does not fit its inputs, instead of resolving.")
@click.option(
    "--diff",
    "old",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="OLD",
    help="Show what changed since the lock in the directory OLD.",
)
@click.option("--refresh", is_flag=True, help="Make root file systems of targets anew, with today's distro packages.")
@click.option("--resolver", default="", metavar="NAME", help="uv (all targets) or pip (this host's own).")
@click.pass_obj
def command(output: Output, /, manifest: Path, **options: Any) -> None:
    """Lock the venvs of MANIFEST, or say that its lock still fits.

    Venvs that share constraint layers are resolved together, once, for all targets. Versions of an existing lock are
    kept where nothing speaks against them.
    """
    result = lock(
        LockRequest(
            manifest=manifest,
            store=Store(output.store_path or default_root()),
            lock_dir=options["lock_dir"],
            upgrade=options["upgrade"],
            upgrade_packages=options["packages"],
            locked=options["locked"],
            resolver=options["resolver"],
            diff=options["old"],
            refresh=options["refresh"],
        ),
        output.emit,
    )
    output.show(_data(result), lambda: _render(output, result))


def _render(output: Output, result: LockResult) -> None:
    columns, rows = table(result.coverage)
    output.table("", columns, rows)
    _render_shadowed(output, result.lock.shadowed)
    if result.diff is not None:
        _render_diff(output, result.diff)
    state = "still fits" if result.reused else "written"
    output.out(
        f"{result.lock_dir}: {state}, {result.lock.name} {result.lock.version} sequence {result.lock.sequence}"
    )


def _render_shadowed(output: Output, shadowed: tuple[Shadowed, ...]) -> None:
    if shadowed:
        output.out("\nConstraints that lost to a higher layer:")
    for one in shadowed:
        output.out(f"  {one.loser} ({one.loser_where}) to {one.winner} ({one.winner_where})")


def _render_diff(output: Output, diff: LockDiff) -> None:
    output.out("")
    if not diff.venvs:
        output.out(f"No package changed since sequence {diff.old_sequence}.")
    for venv in diff.venvs:
        rows = [[_MARKS[one.change], one.name, one.old, one.new] for one in venv.changes]
        output.table(f"{venv.venv} on {venv.target}", ["", "package", "was", "is"], rows)


def _data(result: LockResult) -> dict[str, Any]:
    lock_ = result.lock
    return {
        "lock": str(result.lock_dir),
        "reused": result.reused,
        "name": lock_.name,
        "version": lock_.version,
        "sequence": lock_.sequence,
        "inputs": lock_.inputs,
        "resolver": lock_.resolver,
        "targets": list(lock_.targets),
        "venvs": [
            {"venv": venv.venv, "target": venv.target, "packages": {one.name: one.version for one in venv.packages}}
            for venv in lock_.venvs
        ],
        "builds": [
            {
                "package": build.package,
                "version": build.version,
                "target": build.target,
                "requires": {one.name: one.version for one in build.packages},
            }
            for build in lock_.builds
        ],
        "coverage": result.coverage.to_data(),
        "shadowed": [asdict(one) for one in lock_.shadowed],
        "warnings": list(lock_.warnings),
        "diff": result.diff.to_data() if result.diff is not None else None,
    }

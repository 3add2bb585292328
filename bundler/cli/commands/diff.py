"""`bundle-build diff`: what changed from one bundle to another."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.looking import places, printable, short
from bundler.cli.render import human_size
from bundler.model.bundle_diff import BundleDiff, FileChange, VenvChange, group_changes
from bundler.workflows.diff_bundles import diff_bundles


@click.command("diff")
@click.argument("old", type=click.Path(exists=True, path_type=Path))
@click.argument("new", type=click.Path(exists=True, path_type=Path))
@click.option("--files", is_flag=True, help="List every file, not only how many.")
@click.option("--exit-code", is_flag=True, help="End with status 1 where anything that a site would hold differs.")
@click.pass_context
def command(context: click.Context, /, old: Path, new: Path, *, files: bool, exit_code: bool) -> None:
    """Show what changed from bundle OLD to bundle NEW: packages, files, and the bytes that a site with OLD lacks.

    Each is a directory or an uncompressed .tar of one. bundle.json is compared with SHA256SUMS; no signature is
    checked and no volume is read. A new sequence or time alone is no difference.
    """
    output: Output = context.obj
    found = diff_bundles(old, new, output.emit)
    output.show(found.to_data(), lambda: _render(output, found, files=files))
    if exit_code and found.differs:
        context.exit(1)


def _render(output: Output, found: BundleDiff, *, files: bool) -> None:
    output.out(f"{found.old} → {found.new}")
    for name in found.targets_added:
        output.out(f"  target {name} is new")
    for name in found.targets_removed:
        output.out(f"  target {name} is gone")
    _render_venvs(output, found.venvs)
    _render_packages(output, found.venvs)
    _render_files(output, found.files, listed=files)
    _render_needed(output, found)


def _render_venvs(output: Output, venvs: tuple[VenvChange, ...]) -> None:
    rows = [
        [printable(venv.venv), venv.target, fact.fact, printable(fact.old), printable(fact.new)]
        for venv in venvs
        for fact in venv.facts
    ]
    rows += [[printable(venv.venv), venv.target, venv.change, "", ""] for venv in venvs if _whole(venv)]
    if rows:
        output.out("")
        output.table("Venvs", ["venv", "target", "what", "was", "is"], sorted(rows))


def _whole(venv: VenvChange) -> bool:
    return bool(venv.venv) and venv.change != "changed"


def _render_packages(output: Output, venvs: tuple[VenvChange, ...]) -> None:
    rows = [
        [one.change, printable(one.name), printable(one.old), printable(one.new), places(one.venvs, one.targets)]
        for one in group_changes(venvs)
    ]
    output.out("")
    if rows:
        output.table("Packages", ["change", "package", "was", "is", "where"], rows)
    else:
        output.out("No package changed.")


def _render_files(output: Output, files: tuple[FileChange, ...], *, listed: bool) -> None:
    counts = Counter(file.change for file in files)
    output.out("")
    if listed and files:
        rows = [[file.change, file.path, _side(file.old), _side(file.new), _growth(file)] for file in files]
        output.table("Files", ["change", "file", "was", "is", "#bytes"], rows)
    output.out(f"Files: {counts['added']} added, {counts['removed']} removed, {counts['changed']} changed")


def _side(text: str) -> str:
    return text if text.startswith("->") else short(text)


def _growth(file: FileChange) -> str:
    return f"{file.new_size - file.old_size:+d}"


def _render_needed(output: Output, found: BundleDiff) -> None:
    rows = [
        [one.target or "all targets", str(one.blobs), human_size(one.size), human_size(one.packed)]
        for one in found.needed
    ]
    output.out("")
    output.table(f"What a site that has {found.old} lacks", ["for", "#blobs", "#bytes", "#on the medium"], rows)
    elsewhere = found.needed[0].elsewhere
    if elsewhere:
        output.out(f"{elsewhere} more blobs are in neither: the base of {found.new} has them")

"""`bundle-build inspect`: what is in a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.looking import printable, short
from bundler.cli.render import human_size
from bundler.clock import iso
from bundler.model.contents import ProofEntry
from bundler.model.inspection import Inspection, VenvView
from bundler.workflows.inspect_bundle import InspectRequest, inspect_bundle


@click.command("inspect")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--venv", default="", metavar="NAME", help="Only this venv, with its packages.")
@click.option("--target", default="", metavar="TARGET", help="Only this target.")
@click.pass_obj
def command(output: Output, bundle: Path, venv: str, target: str) -> None:
    """Show what BUNDLE holds: targets, venvs, packages, proofs, sizes, and what sharing saved.

    BUNDLE is a directory or an uncompressed .tar of one. bundle.json is compared with SHA256SUMS; no signature is
    checked and no volume is read: `bundle-build verify` does both.
    """
    found = inspect_bundle(InspectRequest(bundle=bundle, venv=venv, target=target))
    output.show(found.to_data(), lambda: _render(output, found, packages=bool(venv)))


def _render(output: Output, found: Inspection, *, packages: bool) -> None:
    _render_header(output, found)
    _render_targets(output, found)
    _render_venvs(output, found)
    if packages:
        for view in found.venvs:
            _render_packages(output, view)
        return
    _render_seeds(output, found)
    _render_volumes(output, found)
    _render_sizes(output, found)


def _render_header(output: Output, found: Inspection) -> None:
    contents = found.contents
    output.out(f"{contents.id}: {contents.name} {contents.version}, sequence {contents.sequence}")
    output.out(f"  created {iso(contents.created)} by {printable(contents.tool)}")
    output.out(f"  SHA256SUMS is {found.digest}")
    if contents.base:
        output.out(f"  presumes the bundle with SHA256SUMS {contents.base} at the site")
    if not found.signatures:
        output.out("  not signed")
    for signature in found.signatures:
        key = signature.key or f"unreadable: {signature.problem}"
        output.out(f"  signature by {signature.signer} (not checked here), key {key}")


def _render_targets(output: Output, found: Inspection) -> None:
    rows = [
        [
            view.entry.name,
            view.entry.python,
            view.entry.glibc,
            str(view.venvs),
            str(view.wheels),
            human_size(view.wheel_bytes),
        ]
        for view in found.targets
    ]
    output.out("")
    output.table("Targets", ["target", "Python", "glibc", "#venvs", "#wheels", "#bytes"], rows)


def _render_venvs(output: Output, found: Inspection) -> None:
    rows = [
        [
            printable(view.entry.name),
            view.entry.target,
            view.entry.python,
            view.entry.install_path,
            str(len(view.packages)),
            human_size(view.size),
            human_size(view.own_size),
            _proof(view.entry.proof),
        ]
        for view in found.venvs
    ]
    columns = ["venv", "target", "Python", "install path", "#packages", "#archive", "#own", "proof"]
    output.out("")
    output.table("Venvs (own: bytes that no other venv shares)", columns, rows)


def _render_seeds(output: Output, found: Inspection) -> None:
    rows = [
        [seed.target, ", ".join(printable(f"{one.name} {one.version}") for one in seed.packages)]
        for seed in found.seeds
    ]
    if rows:
        output.out("")
        output.table("Seed packages (wheels beside those of the venvs)", ["target", "packages"], rows)


def _proof(proof: ProofEntry) -> str:
    if proof.level == "none":
        return "none" + (" (allowed)" if proof.unproved_allowed else "")
    if not proof.passed:
        return f"{proof.level}: FAILED"
    extra = [f"{proof.checks} checks"]
    extra += [f"{proof.allowed} failures allowed"] if proof.allowed else []
    extra += [f"not isolated: {', '.join(proof.unisolated)}"] if proof.unisolated else []
    return printable(f"{proof.level}: passed ({'; '.join(extra)})")


def _render_packages(output: Output, view: VenvView) -> None:
    rows = [
        [
            printable(one.entry.name) + (" *" if one.entry.requested else ""),
            printable(one.entry.version),
            one.entry.kind,
            human_size(one.size),
            " ".join(short(layer) for layer in one.entry.layers),
            printable(one.entry.wheel),
        ]
        for one in view.packages
    ]
    title = f"{view.entry.name} on {view.entry.target}: {len(rows)} packages (* asked for)"
    output.out("")
    output.table(printable(title), ["package", "version", "kind", "#bytes", "layers", "wheel"], rows)


def _render_volumes(output: Output, found: Inspection) -> None:
    rows = [
        [
            volume.entry.name,
            volume.entry.target or "common",
            str(len(volume.entry.blobs)),
            human_size(volume.entry.size),
            volume.state if volume.state == "present" else volume.state.upper(),
        ]
        for volume in found.volumes
    ]
    output.out("")
    output.table("Volumes", ["volume", "for", "#blobs", "#bytes", "here"], rows)


def _render_sizes(output: Output, found: Inspection) -> None:
    sizes, count = found.sizes, len(found.contents.files)
    output.out("")
    output.out(f"{human_size(sizes.files)} in {count} files on a repo host with all targets")
    factor = f" ({sizes.files / sizes.blobs:.1f} to 1)" if sizes.blobs else ""
    output.out(f"{human_size(sizes.blobs)} in distinct blobs: sharing saved {human_size(sizes.saved)}{factor}")
    plural = "" if len(found.volumes) == 1 else "s"
    output.out(f"{human_size(sizes.medium)} in {len(found.volumes)} volume{plural} on the medium")

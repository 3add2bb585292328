"""`bundle-build manifest`: check, schema, sample, explain, from-openstack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bundler.buildenv.host_target import host_target
from bundler.cli.context import Output
from bundler.model.manifest_sample import sample, schema
from bundler.model.openstack_roles import EXTRA_VENVS
from bundler.workflows.manifest import check_manifests, explain_manifest
from bundler.workflows.openstack import OpenStackReport, OpenStackRequest
from bundler.workflows.openstack import from_openstack as run_from_openstack

_FILE = click.Path(dir_okay=False, path_type=Path)
_PLACE = click.Path(exists=True, path_type=Path)


@click.group("manifest")
def command() -> None:
    """Check, explain and document manifests."""


@command.command("check")
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.pass_obj
def check(output: Output, files: Sequence[Path]) -> None:
    """Name every problem of the manifests FILES, with line and field."""
    found = check_manifests(files, output.emit)
    rows = [
        {
            "file": str(path),
            "release": f"{loaded.manifest.release.name} {loaded.manifest.release.version}",
            "venvs": list(loaded.manifest.venvs),
            "digest": loaded.digest,
        }
        for path, loaded in zip(files, found, strict=True)
    ]

    def render() -> None:
        for row in rows:
            venvs = "1 venv" if len(row["venvs"]) == 1 else f"{len(row['venvs'])} venvs"
            output.out(f"{row['file']}: {row['release']}, {venvs}, no problems")

    output.show(rows, render)


@command.command("schema")
@click.pass_obj
def show_schema(output: Output) -> None:
    """Print the JSON Schema of manifests, for editors."""
    output.data(schema())


@command.command("sample")
@click.pass_obj
def show_sample(output: Output) -> None:
    """Print a commented manifest with every field."""
    text = sample()
    output.show({"sample": text}, lambda: output.out(text.rstrip("\n")))


@command.command("explain")
@click.argument("file", type=_FILE)
@click.option("--target", "targets", multiple=True, metavar="NAME", help="Only this target; may be repeated.")
@click.pass_obj
def show_plan(output: Output, file: Path, targets: Sequence[str]) -> None:
    """Show the manifest FILE as it is understood: what each venv holds on each target."""
    found = explain_manifest(file, targets, host_target, output.emit)
    output.show(found, lambda: output.out("\n".join(_lines(found))))


@command.command("from-openstack")
@click.option("--deliverables", multiple=True, type=_PLACE, metavar="PATH",
              help="Deliverable file of openstack/releases, or a directory of them; may be repeated.")  # fmt: skip
@click.option("--source-git", multiple=True, type=_PLACE, metavar="PATH",
              help="OpenStack-Ansible's source_git.yml, or a directory of them; may be repeated.")  # fmt: skip
@click.option("--upper-constraints", "upper", type=_PLACE, metavar="FILE", help="Upper constraints of the release.")
@click.option("--pins", type=_PLACE, metavar="FILE", help="OpenStack-Ansible's global-requirement-pins.txt.")
@click.option("--service", "services", multiple=True, metavar="NAME", help="Only this service; may be repeated.")
@click.option("--target", "targets", multiple=True, metavar="NAME", help="Build for this target (default: auto).")
@click.option("--with", "extra", multiple=True, type=click.Choice(EXTRA_VENVS), help="A venv that is no service.")
@click.option("--variable", "variables", multiple=True, metavar="NAME=VALUE",
              help="Value of a variable in addresses, e.g. openstack_opendev_base_url of a mirror.")  # fmt: skip
@click.option("--name", default="openstack", show_default=True, help="Name of the release.")
@click.option("--version", default="", help="Version of the release (default: the series that the files are of).")
@click.option("--tag", default="", help="End of the install paths (default: OpenStack-Ansible's own version).")
@click.option("-o", "--out", "output", type=_FILE, help="Write it there.")
@click.option("--force", is_flag=True, help="Replace the file of --out.")
@click.pass_obj
def from_openstack(output_: Output, /, **options: Any) -> None:
    """Make the manifest of an OpenStack release from OpenStack's own data.

    With --deliverables, services come from the index in the versions that were released last; with --source-git,
    from git at the very commits that an OpenStack-Ansible release installs. Constraints that contradict each other
    are named, with the one that wins.
    """
    options["variables"] = dict(_variable(text) for text in options["variables"])
    options["targets"] = options["targets"] or ("auto",)
    options["extra"] = tuple(dict.fromkeys(options["extra"]))
    report = run_from_openstack(OpenStackRequest(**options), output_.emit)
    output_.show(_openstack(report), lambda: output_.out(_written(report, options["output"])))


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name.isidentifier() or not equals:
        raise click.UsageError(f"--variable {text!r} is not NAME=VALUE")
    return name, value


def _openstack(report: OpenStackReport) -> dict[str, Any]:
    return {
        "manifest": report.text,
        "version": report.version,
        "venvs": list(report.venvs),
        "lost": [asdict(one) for one in report.shadowed],
        "left_out": report.left_out,
    }


def _written(report: OpenStackReport, place: Path | None) -> str:
    if place is None:
        return report.text.rstrip("\n")
    return f"{place}: written, {len(report.venvs)} venvs; next: bundle-build lock {place}"


def _lines(found: dict[str, Any]) -> Iterator[str]:
    release = found["release"]
    yield f"release {release['name']} {release['version']}"
    yield from _row("files", found["files"], 0)
    yield from _row("indexes", [_index(index) for index in found["indexes"]], 0)
    yield from _row("wheel folders", found["wheel_folders"], 0)
    yield f"resolver {found['resolver']}, closure {found['closure']}, proof {found['proof']}"
    yield from _row("build constraints", found["build"]["constraints"], 0)
    yield from _row("build settings", [_settings(*one) for one in found["build"]["packages"].items()], 0)
    for venv in found["venvs"]:
        yield ""
        yield f"{venv['venv']} on {venv['target']} (Python {venv['python']}): {venv['path']}"
        yield from _row("requirements", venv["requirements"])
        yield from _row("build requirements", venv["build_requirements"])
        yield from _row("constraint layers", [f"{layer['name']}: {layer['from']}" for layer in venv["layers"]])
        yield from _row("system packages", venv["system_packages"])
        yield from _row("distro, build", venv["build_packages"])
        yield from _row("distro, runtime", venv["runtime_packages"])
        yield from _row("smoke", [_smoke(one) for one in venv["smoke"]])
        yield from _row("allowed failures", [f"{one['entry_point']}: {one['reason']}" for one in venv["allow"]])


def _row(label: str, values: Sequence[str], indent: int = 2) -> Iterator[str]:
    for number, value in enumerate(values):
        yield f"{' ' * indent}{label if number == 0 else '':<20}{value}"


def _index(index: dict[str, Any]) -> str:
    only = f" (only for {', '.join(index['packages'])})" if index["packages"] else ""
    return f"{index['name']}: {index['url']}{only}"


def _settings(name: str, settings: dict[str, Any]) -> str:
    return f"{name}: " + "; ".join(f"{key} {_text(value)}" for key, value in settings.items())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_text(one)}" for key, one in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else "true" if value is True else str(value)


def _smoke(one: dict[str, str]) -> str:
    return f"{one['run']} → {one['expect']}" if one["expect"] else one["run"]

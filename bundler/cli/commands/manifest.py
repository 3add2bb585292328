"""`bundle-build manifest`: check, schema, sample, explain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from bundler.buildenv.host_target import host_target
from bundler.cli.context import Output
from bundler.model.manifest_sample import sample, schema
from bundler.workflows.manifest import check_manifests, explain_manifest

_FILE = click.Path(dir_okay=False, path_type=Path)


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

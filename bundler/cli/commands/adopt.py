"""`bundle-build adopt`: requirements, a freeze, or a wheelhouse becomes a manifest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.workflows.adopt import AdoptRequest
from bundler.workflows.adopt import adopt as run_adopt


@click.command("adopt")
@click.argument("source", metavar="PATH", type=click.Path(exists=True, path_type=Path))
@click.option("--name", default="", help="Name of the release and its venv (default: from PATH).")
@click.option("--version", default="1", show_default=True, help="Version of the release.")
@click.option("-o", "--output", "place", type=click.Path(dir_okay=False, path_type=Path), help="Write it there.")
@click.option("--partial", is_flag=True, help="Leave out what cannot be carried over, with a warning.")
@click.option("--force", is_flag=True, help="Replace the file of --output.")
@click.pass_obj
def command(output: Output, /, source: Path, place: Path | None, **options: str | bool) -> None:
    """Make a manifest of PATH: a requirements file, the output of `pip freeze`, or a folder of wheels.

    Files named by -r are taken in, those named by -c become constraint layers. What cannot be carried over is
    listed with its lines; nothing is written then.
    """
    request = AdoptRequest(
        source=source,
        name=str(options["name"]),
        version=str(options["version"]),
        output=place,
        partial=bool(options["partial"]),
        force=bool(options["force"]),
    )
    report = run_adopt(request, output.emit)

    def render() -> None:
        output.out(f"{place}: written; next: bundle-build lock {place}" if place else report.text.rstrip("\n"))

    output.show(asdict(report), render)

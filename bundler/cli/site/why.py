"""`bundle-install why`: what brought a package, which hosts serve it, and why others do not."""

from __future__ import annotations

from typing import Any

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.fleet_tables import drop_empty, host_option
from bundler.cli.site_options import site_options
from bundler.deploy.places import Places
from bundler.workflows.site.why import Origin, Why, WhyRequest, why


@click.command(
    "why", epilog=epilog("bundle-install why requests", "bundle-install why oslo.config --host repo1 --venv nova")
)
@click.argument("package")
@host_option
@click.option("--venv", default="", help="Only in this venv.")
@site_options
@click.pass_obj
def command(output: Output, /, package: str, places: Places, hosts: tuple[str, ...], venv: str) -> None:
    """Say which bundle, lock, layers, source and signers brought PACKAGE, and which repo hosts serve it.

    For a host that does not serve it, say why: not in the release, another target, proved but not activated, … That
    no release has it is an answer too, with exit status 0; in JSON, `origins` is empty then.
    """
    found = why(WhyRequest(places=places, package=package, hosts=hosts, venv=venv), output.emit)
    value = {
        "package": found.package,
        "releases": list(found.releases),
        "venvs": list(found.venvs),
        "near": list(found.near),
        "origins": [_value(one) for one in found.origins],
        "hosts": [
            {"host": one.host, "serves": list(one.serves), "reasons": list(one.reasons)} for one in found.hosts
        ],
    }
    output.show(value, lambda: _show(output, found))


def _value(origin: Origin) -> dict[str, Any]:
    use = origin.use
    return {
        "bundle": use.release,
        "venv": use.venv,
        "target": use.target,
        "version": use.package.version,
        "requested": use.package.requested,
        "wheel": use.package.wheel,
        "wheel_sha256": use.package.wheel_sha256,
        "kind": use.package.kind,
        "layers": list(use.package.layers),
        "lock": origin.lock,
        "sources": list(origin.sources),
        "signers": list(origin.signers),
    }


def _show(output: Output, found: Why) -> None:
    if found.origins:
        _show_origins(output, found)
    else:
        output.out(_nowhere(found))
    columns = ("host", "serves it in", "why not")
    hosts = [(one.host, " ".join(one.serves), "; ".join(one.reasons)) for one in found.hosts]
    output.table("", *drop_empty(columns, hosts))


def _nowhere(found: Why) -> str:
    if found.venvs:
        return f"{found.package} is in another venv: {', '.join(found.venvs)}"
    applied = ", ".join(found.releases) or "none"
    near = f" Did you mean {' or '.join(found.near)}?" if found.near else ""
    return f"{found.package} is in no release that this site applied ({applied}).{near}"


def _show_origins(output: Output, found: Why) -> None:
    rows = [
        (
            one.use.release,
            one.use.venv,
            one.use.target,
            one.use.package.version,
            "asked for" if one.use.package.requested else "a dependency",
            one.use.package.wheel,
        )
        for one in found.origins
    ]
    output.table(found.package, ("bundle", "venv", "target", "version", "why", "wheel"), rows)
    for one in dict.fromkeys((one.use.release, one.sources, one.signers, one.lock) for one in found.origins):
        release, sources, signers, lock = one
        output.out(f"{release}: signed by {', '.join(signers) or 'nobody that the log knows'}")
        for source in sources:
            output.out(f"  from {source}")
        if lock:
            output.out(f"  lock {lock} in its evidence")

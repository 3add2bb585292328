"""`bundle-install unpack`: venvs onto the host that it runs on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.site_options import site_options
from bundler.deploy.facts import parse_fact
from bundler.deploy.places import Places
from bundler.deploy.unpack import Unpacked
from bundler.workflows.site.unpack import BackRequest, VenvsRequest, put_back, put_venvs

EXAMPLES = epilog(
    "bundle-install unpack nova-33.0.1 --from http://repo1/os-releases/2026.1/debian-12-x86_64/venvs --sha256 HEX",
    "bundle-install unpack nova glance --from /media/stick/openstack-2026.1-1795123456",
    "bundle-install unpack nova-33.0.1 --from . --sha256 HEX --fact openstack_ansible:nova:venv_tag=33.0.1",
    "bundle-install unpack nova --rollback",
    "bundle-install unpack nova --rollback --to nova-33.0.0",
)
#: Options that say what to unpack.
_UNPACKING = {name: f"--{name.replace('_', '-')}" for name in ("target", "sha256", "allowed_signers", "link", "copy")}
_UNPACKING["source"] = "--from"


@click.command("unpack", epilog=EXAMPLES)
@click.argument("venvs", metavar="VENV...", nargs=-1, required=True)
@click.option("--from", "source", default="", metavar="URL|DIR|BUNDLE",
              help="A bundle, or where archives lie: the venvs directory of a target on a repo host.")  # fmt: skip
@click.option("--target", default="", help="Of a bundle that is for several targets.")
@click.option("--sha256", multiple=True, metavar="HEX",
              help="Of each archive, in the order of VENV, as the deployment host knows it.")  # fmt: skip
@click.option("--allowed-signers", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="Who may have signed BUNDLE; without it the site's trust on this host says so.")  # fmt: skip
@click.option("--into", type=click.Path(path_type=Path, file_okay=False),
              help="The directory of the venvs (the bundle's own, else /openstack/venvs).")  # fmt: skip
@click.option("--link", default="", metavar="NAME", help="The link to the venv in use (the name of the venv).")
@click.option("--keep", type=click.IntRange(min=0), default=2, show_default=True,
              help="How many older venvs of the name to keep.")  # fmt: skip
@click.option("--fact", "facts", multiple=True, metavar="FILE:SECTION:OPTION=VALUE",
              help="A local fact for Ansible, written if it differs; FILE: a path or a name in /etc/ansible/facts.d.",
              )  # fmt: skip
@click.option("--copy", is_flag=True, help="Share no file with other venvs: files of its own, writable.")
@click.option("--rollback", is_flag=True, help="Switch VENV back to what was in use before; nothing is unpacked.")
@click.option("--to", default="", metavar="NAME", help="With --rollback: which older venv, e.g. nova-33.0.0.")
@click.option("--refuse", "refused", multiple=True, metavar="HEX",
              help="With --rollback: not to the venv of the archive with this SHA-256.")  # fmt: skip
@site_options
@click.pass_obj
def command(output: Output, /, places: Places, *, facts: tuple[str, ...], **options: Any) -> None:
    """Put each VENV beside the old ones on this host, switch to it, and keep some of the old ones.

    Layers that a venv here already has are hard-linked, not unpacked. VENV is an archive's name without .tar.zst
    (nova-33.0.1), of a bundle also a venv's name (nova); with --rollback it is the name of the link. What is there
    already is not touched, and a run that was ended anywhere is simply repeated. Going back twice goes back once:
    further back, --to says to which.
    """
    told = tuple(map(parse_fact, facts))
    rollback, to, refused = (options.pop(name) for name in ("rollback", "to", "refused"))
    if rollback:
        for given in (option for name, option in _UNPACKING.items() if options[name]):
            raise click.UsageError(f"--rollback takes what is here: leave out {given}")
        back = BackRequest(venvs=options["venvs"], into=options["into"], to=to, refused=refused, facts=told)
        done = put_back(back, output.emit)
    elif to or refused:
        raise click.UsageError("--to and --refuse belong to --rollback")
    elif not options["source"]:
        raise click.UsageError("give --from: a bundle, or where the archives lie")
    else:
        done = put_venvs(VenvsRequest(places=places, facts=told, **options), output.emit)
    output.show({"venvs": [_value(one) for one in done]}, lambda: _show(output, done))


def _value(one: Unpacked) -> dict[str, Any]:
    return {
        "venv": one.venv,
        "path": str(one.path),
        "link": str(one.link),
        "changed": one.changed,
        "layers": one.layers,
        "reused": one.reused,
        "removed": list(one.removed),
        "facts": list(one.facts),
    }


def _show(output: Output, done: Sequence[Unpacked]) -> None:
    for one in done:
        how = f"{one.layers} layers, {one.reused} of them were here" if one.layers else "rolled back"
        output.out(f"{one.link} -> {one.path.name}: {how if one.changed else 'as it was'}")
        for name in one.removed:
            output.out(f"  removed: {name}")
    for file in dict.fromkeys(file for one in done for file in one.facts):
        output.out(f"{file}: written")

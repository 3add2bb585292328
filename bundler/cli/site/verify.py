"""`bundle-install verify`: is this bundle what its signers signed, and would this site take it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bundler.cli.commands.verify import render_verified, verified_value
from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.next_medium import next_medium
from bundler.cli.site_options import site_options
from bundler.deploy.places import Places
from bundler.workflows.verify import VerifyRequest, verify

EXAMPLES = epilog(
    "bundle-install verify /media/stick",
    "bundle-install verify /media/stick-1 /media/stick-2 --deep",
    "bundle-install verify /media/stick --allowed-signers allowed_signers -n 2",
)


@click.command("verify", epilog=EXAMPLES)
@click.argument("media", metavar="MEDIUM...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--allowed-signers", type=click.Path(path_type=Path),
              help="Trust this file alone: then neither the site's trust nor its state is asked.")  # fmt: skip
@click.option("-n", "--threshold", type=click.IntRange(min=1),
              help="With --allowed-signers: how many different signers must have signed (1).")  # fmt: skip
@click.option("-r", "--revoked", type=click.Path(path_type=Path),
              help="With --allowed-signers: public keys that no longer count.")  # fmt: skip
@click.option("--deep", is_flag=True, help="Also decode every blob and put every file together.")
@site_options
@click.pass_obj
def command(output: Output, /, media: tuple[Path, ...], places: Places, **options: Any) -> None:
    """Check the bundle on MEDIUM: signatures, digests, structure, proofs, and whether this site would take it.

    MEDIUM is the bundle's directory, a .tar of it, or the directory of a stick that holds one bundle. A bundle may
    be spread over several. They are only read. Trust documents on them are taken over first.
    """
    if options["allowed_signers"] is not None:
        _verify_by_file(output, media, **options)
    elif options["threshold"] or options["revoked"]:
        raise click.UsageError("--threshold and --revoked go with --allowed-signers: the site's trust has its own")
    else:
        _verify_by_trust(output, media, places, deep=options["deep"])


def _verify_by_file(output: Output, media: tuple[Path, ...], *, threshold: int | None, **options: Any) -> None:
    request = VerifyRequest(bundle=media[0], others=media[1:], threshold=threshold or 1, **options)
    verified = verify(request, output.emit, next_medium(output))
    output.show(verified_value(verified), lambda: render_verified(output, verified))


def _verify_by_trust(output: Output, media: tuple[Path, ...], places: Places, *, deep: bool) -> None:
    from bundler.workflows.site.verify import verify_at_site  # noqa: PLC0415  # a host with no trust does not need it

    taken = verify_at_site(media, places, deep=deep, emit=output.emit, ask=next_medium(output))
    verified = taken.verified
    ours = [one.name for one in verified.contents.volumes if not one.target or one.target in taken.targets]
    value = {
        **verified_value(verified),
        "targets_here": list(taken.targets),
        "volumes_here": ours,
        "unread": list(verified.unread),
        "new_trust": list(taken.trust_versions),
    }

    def render() -> None:
        render_verified(output, verified)
        output.out(f"  for this site: {', '.join(taken.targets)}; {', '.join(ours)}")
        if verified.unread:
            output.out(f"  not read, for targets that this site does not have: {', '.join(verified.unread)}")

    output.show(value, render)

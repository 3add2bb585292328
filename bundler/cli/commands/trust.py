"""`bundle-build trust`: say who may sign, for every site."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.trust_table import groups, show_trust, trust_value
from bundler.errors import UsageError
from bundler.signing.chain import root_digest
from bundler.workflows.trust import (
    Change,
    Named,
    Written,
    add_trust,
    export_trust,
    look,
    new_trust,
    sign_trust,
)

F = TypeVar("F", bound=Callable[..., Any])
_DIRECTORY = click.argument("directory", type=click.Path(file_okay=False, path_type=Path))


@click.group("trust")
def command() -> None:
    """Say who may sign bundles, and how many must; each document is vouched for by the one before."""


def _changes(function: F) -> F:
    options = (
        click.option("--root", "roots", multiple=True, metavar="NAME=KEY.pub",
                     help="A person who may sign trust documents, and their public key."),
        click.option("--signer", "signers", multiple=True, metavar="NAME=KEY.pub",
                     help="A person or machine that may sign bundles, and their public key."),
        click.option("--root-threshold", type=click.IntRange(min=1), help="How many root signers must sign."),
        click.option("--threshold", type=click.IntRange(min=1), help="How many signers must sign a bundle."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@command.command(
    "new",
    epilog=epilog(
        "bundle-build trust new trust --root alice-root=alice-root.pub --signer builder=builder.pub",
        "bundle-build trust new trust --root a=a.pub --root b=b.pub --root-threshold 2 --signer builder=builder.pub",
    ),
)
@_DIRECTORY
@_changes
@click.pass_obj
def new(output: Output, /, directory: Path, **options: Any) -> None:
    """Write the first trust document below DIRECTORY; root signers sign it then."""
    _show(output, new_trust(directory, _change(options)))


@command.command(
    "add",
    epilog=epilog(
        "bundle-build trust add trust --signer bob=bob.pub",
        "bundle-build trust add trust --remove alice --revoke-key alice.pub --floor openstack=1795000000",
    ),
)
@_DIRECTORY
@_changes
@click.option("--remove", multiple=True, metavar="NAME", help="A signer who no longer counts, in either role.")
@click.option("--floor", "floors", multiple=True, metavar="BUNDLE=SEQUENCE", help="Oldest sequence still installed.")
@click.option("--epoch", "epochs", multiple=True, metavar="BUNDLE=NUMBER", help="Begin to count sequences anew.")
@click.option("--revoke-key", multiple=True, type=click.Path(path_type=Path), help="A public key that was stolen.")
@click.option("--revoke-bundle", multiple=True, metavar="DIGEST", help="SHA-256 of a bundle's SHA256SUMS.")
@click.pass_obj
def add(output: Output, /, directory: Path, **options: Any) -> None:
    """Write the next document: the newest one with changes. The quorums of both must sign it."""
    _show(output, add_trust(directory, _change(options)))


@command.command("sign", epilog=epilog("bundle-build trust sign trust --key ~/.ssh/alice_root --signer alice-root"))
@_DIRECTORY
@click.option("--key", required=True, type=click.Path(exists=True, path_type=Path),
              help="Private key, or the .pub file of a key that an agent or token holds.")  # fmt: skip
@click.option("--signer", required=True, help="Your name as a root signer.")
@click.pass_obj
def sign(output: Output, /, directory: Path, key: Path, signer: str) -> None:
    """Add a root signer's signature to the newest document below DIRECTORY."""
    _show(output, sign_trust(directory, key, signer))


@command.command("show", epilog=epilog("bundle-build trust show trust"))
@_DIRECTORY
@click.option("--version", type=click.IntRange(min=1), default=None, help="Which document (default: the newest).")
@click.pass_obj
def show(output: Output, /, directory: Path, version: int | None) -> None:
    """Show a trust document, and whose signatures it still lacks."""
    _show(output, look(directory, version or 0))


@command.command("export", epilog=epilog("bundle-build trust export trust /media/stick"))
@_DIRECTORY
@click.argument("medium", type=click.Path(file_okay=False, path_type=Path))
@click.pass_obj
def export(output: Output, /, directory: Path, medium: Path) -> None:
    """Check the chain below DIRECTORY as a site does, and copy all of it onto MEDIUM, beside the bundles."""
    written = export_trust(directory, medium, output.emit)
    value = {**trust_value(written.document, written.digest), "root_digest": written.digest}

    def render() -> None:
        output.out(f"{written.document.version} trust documents are on {medium}")
        output.out("for the paper card, SHA-256 of trust-0001/SHA256SUMS:")
        output.out(f"  {groups(written.digest)}")

    output.show(value, render)


def _change(options: dict[str, Any]) -> Change:
    return Change(
        roots=tuple(_named(text, "--root") for text in options["roots"]),
        signers=tuple(_named(text, "--signer") for text in options["signers"]),
        removed=tuple(options.get("remove", ())),
        root_threshold=options["root_threshold"],
        bundle_threshold=options["threshold"],
        floors=_numbers(options.get("floors", ()), "--floor"),
        epochs=_numbers(options.get("epochs", ()), "--epoch"),
        revoked_keys=tuple(options.get("revoke_key", ())),
        revoked_bundles=tuple(root_digest(text) for text in options.get("revoke_bundle", ())),
    )


def _named(text: str, option: str) -> Named:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise UsageError(f"{option} {text}: must be NAME=KEY.pub")
    return Named(name=name, key=Path(path))


def _numbers(texts: tuple[str, ...], option: str) -> dict[str, int]:
    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        if not (name and number.isdecimal()):
            raise UsageError(f"{option} {text}: must be BUNDLE=NUMBER")
        found[name] = int(number)
    return found


def _show(output: Output, written: Written) -> None:
    value = {
        **trust_value(written.document, written.digest),
        "path": str(written.path),
        "missing": list(written.missing),
    }

    def render() -> None:
        output.out(str(written.path))
        show_trust(output, written.document, written.digest)
        for text in written.missing:
            output.out(f"not complete: {text}")
        if not written.missing:
            output.out("complete: its quorums hold")

    output.show(value, render)

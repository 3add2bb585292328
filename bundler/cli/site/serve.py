"""`bundle-install serve`: a small web server for the root of a repo host."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.workflows.site.serve import ServeRequest, Serving, serve

_EXAMPLES = epilog(
    "bundle-install serve --root /var/www/repo",
    "bundle-install serve --listen 10.0.0.11:8181 --quiet",
    "bundle-install serve --listen '[::]:443' --tls-cert repo.crt --tls-key repo.key",
)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("serve", epilog=_EXAMPLES)
@click.option(
    "--root", type=click.Path(path_type=Path), default="/var/www/repo", show_default=True,
    help="The root of a repo host, as site.yaml names it.",
)  # fmt: skip
@click.option(
    "--listen", metavar="ADDRESS", default="127.0.0.1:8181", show_default=True,
    help="IP address and port; port 0: any that is free. Without an address: this host alone.",
)  # fmt: skip
@click.option("--tls-cert", "certificate", type=_FILE, help="Serve https: the certificate with its chain, as PEM.")
@click.option("--tls-key", "key", type=_FILE, help="Its key, as PEM, without a passphrase.")
@click.pass_obj
def command(output: Output, /, root: Path, listen: str, certificate: Path | None, key: Path | None) -> None:
    """Serve what is active below a root, read only, for small sites and trials.

    Wheels, venvs and constraints are files; pages of the simple API come as HTML or JSON, whichever the client asks
    for. A switch of releases is seen at once. SIGTERM or Ctrl-C: answers under way come to their end, then it leaves
    with status 0. Exit status 92: the address is in use.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: stop.set())

    def started(serving: Serving) -> None:
        reach = "this host alone can reach it" if serving.loopback else "other hosts can reach it"
        value = {**asdict(serving), "root": str(serving.root)}
        output.show(value, lambda: output.out(f"serving {serving.root} at {serving.url} ({reach})"))
        sys.stdout.flush()

    serve(ServeRequest(root=root, listen=listen, certificate=certificate, key=key), started, stop, output.emit)

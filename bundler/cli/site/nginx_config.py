"""`bundle-install nginx-config`: what nginx needs to serve a repo host, and other indexes behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bundler.cli.context import Output
from bundler.cli.examples import epilog
from bundler.cli.site_options import site_options
from bundler.deploy.places import Places
from bundler.serving.nginx_options import CA, Cache, NginxOptions
from bundler.workflows.site.nginx import NginxRequest, make_nginx_config

_EXAMPLES = epilog(
    "bundle-install nginx-config > /etc/nginx/conf.d/bundle.conf",
    "bundle-install nginx-config --host repo1 --listen 443 --tls-cert /etc/ssl/repo.crt --tls-key /etc/ssl/repo.key",
    "bundle-install nginx-config --upstream https://index.example/simple/ --upstream-files https://files.example/",
)
_CACHE = Cache()


@click.command("nginx-config", epilog=_EXAMPLES)
@click.option("--host", default="", metavar="NAME", help="The repo host of site.yaml that it is for.")
@click.option("--root", default="", help="The root to serve.  [default: that of site.yaml, else /var/www/repo]")
@click.option(
    "--listen", multiple=True, default=("8181",), show_default=True, metavar="[ADDRESS:]PORT",
    help="Where; may be repeated, e.g. for [::]:8181.",
)  # fmt: skip
@click.option("--server-name", default="_", show_default=True, help="Names of the host; _: whatever clients call it.")
@click.option("--tls-cert", "certificate", default="", metavar="FILE", help="Serve https: the certificate, there.")
@click.option("--tls-key", "key", default="", metavar="FILE", help="Its key, there.")
@click.option(
    "--upstream", "upstreams", multiple=True, metavar="URL",
    help="An index (simple API) to ask for projects that the release does not have; may be repeated.",
)  # fmt: skip
@click.option(
    "--upstream-files", "files", multiple=True, metavar="URL",
    help="Where pages of an upstream lead to on another host; may be repeated.",
)  # fmt: skip
@click.option("--upstream-ca", "ca", default=CA, show_default=True, metavar="FILE", help="CAs of upstreams, as PEM.")
@click.option(
    "--resolver", default="", help="A name server: then nginx starts even where no upstream has an address."
)
@click.option("--cache", "path", default=_CACHE.path, show_default=True, metavar="DIR", help="Where files are kept.")
@click.option("--cache-size", "size", default=_CACHE.size, show_default=True, help="At most so much.")
@click.option("--cache-pages", "pages", default=_CACHE.pages, show_default=True, help="How long a page counts.")
@click.option(
    "--target", "targets", multiple=True, metavar="TARGET",
    help="A target whose projects are never asked for elsewhere, beside those of site.yaml; may be repeated.",
)  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it here instead of to stdout.")
@site_options
@click.pass_obj
def command(output: Output, /, places: Places, host: str, out: Path | None, **options: Any) -> None:
    """Print a configuration of nginx for repo hosts: a file to be included in its http block.

    It stays the same from release to release. With --upstream, what the release does not have comes from there and is
    kept; a project that the release has, under whichever spelling and for whichever target, is never asked for
    elsewhere.
    """
    cache = Cache(**{name: options.pop(name) for name in ("path", "size", "pages")})
    request = NginxRequest(places=places, options=NginxOptions(cache=cache, **options), host=host, out=out)
    text = make_nginx_config(request, output.emit)
    value = {"file": str(out)} if out else {"configuration": text}
    output.show(value, lambda: output.out(f"wrote {out}" if out else text.rstrip("\n")))

"""What a configuration of nginx depends on, and what of it nginx would misread."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bundler.errors import Problem

#: A release, a target, a version: no sign in it means anything to a shell, a URL or nginx.
WORD = r"[A-Za-z0-9._+-]+"
#: Where Debian keeps the CAs of the system.
CA = "/etc/ssl/certs/ca-certificates.crt"
_SAFE_PATH = re.compile(r"/[^\x00-\x1f\x7f$\"\\]*")
_LISTEN = re.compile(r"(?:(?:\[[0-9A-Fa-f:.]+\]|\*|[A-Za-z0-9.-]+):)?[0-9]{1,5}")
_SERVER_NAME = re.compile(r"[A-Za-z0-9._*-]+")
_SIZE = re.compile(r"[1-9][0-9]{0,9}[kmgKMG]?")
_TIME = re.compile(r"[1-9][0-9]{0,6}[smhd]")
_RESOLVER = re.compile(r"[A-Za-z0-9.:\[\]-]+")
_URL = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~+/@!-]*)?")
_IP = re.compile(r"[0-9.]+|.*:.*")


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Where what comes from elsewhere is kept, how much of it, and how long a page of it counts."""

    path: str = "/var/cache/nginx-bundle"
    size: str = "10g"
    pages: str = "10m"


@dataclass(frozen=True, kw_only=True)
class NginxOptions:
    """What a configuration depends on.

    ``upstreams`` are simple APIs, asked in this order; ``files`` are where their pages lead to on other hosts.
    ``targets`` are those of the site: what any of them has is never asked for elsewhere. Without ``resolver`` names
    of upstreams are looked up when nginx starts, and it does not start where that fails.
    """

    root: str = "/var/www/repo"
    listen: tuple[str, ...] = ("8181",)
    server_name: str = "_"
    certificate: str = ""
    key: str = ""
    upstreams: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    ca: str = CA
    resolver: str = ""
    cache: Cache = Cache()
    targets: tuple[str, ...] = ()


def option_problems(options: NginxOptions) -> Iterator[Problem]:
    """Yield everything that is wrong with ``options``."""
    paths = {"--root": options.root, "--cache": options.cache.path, "--upstream-ca": options.ca}
    paths |= {"--tls-cert": options.certificate, "--tls-key": options.key}
    for where, path in paths.items():
        if path and not _SAFE_PATH.fullmatch(path):
            yield Problem(where=where, what=f"{path!r} cannot stand there", hint='from / on, without $, " and \\')
    if bool(options.certificate) != bool(options.key):
        yield Problem(where="--tls-cert", what="it goes together with --tls-key")
    yield from _words("--listen", options.listen, _LISTEN, "[ADDRESS:]PORT")
    yield from _words("--server-name", options.server_name.split(), _SERVER_NAME, "names of this host")
    yield from _words("--cache-size", [options.cache.size], _SIZE, "e.g. 10g")
    yield from _words("--cache-pages", [options.cache.pages], _TIME, "e.g. 10m")
    yield from _words("--resolver", options.resolver.split(), _RESOLVER, "the address of a name server")
    yield from _urls("--upstream", options.upstreams)
    yield from _urls("--upstream-files", options.files)
    yield from _words("--target", options.targets, re.compile(WORD), "e.g. debian-12-x86_64")
    if options.files and not options.upstreams:
        yield Problem(where="--upstream-files", what="nothing leads there without --upstream")


def _words(where: str, given: Sequence[str], allowed: re.Pattern[str], hint: str) -> Iterator[Problem]:
    for one in given:
        if not allowed.fullmatch(one):
            yield Problem(where=where, what=f"{one!r} is none", hint=hint)


def _urls(where: str, urls: Sequence[str]) -> Iterator[Problem]:
    for url in urls:
        if "@" in urlsplit(url).netloc:
            hint = "let a reverse proxy of your own log in there, and name that"
            yield Problem(where=where, what="a URL with a password would be readable in the configuration", hint=hint)
        elif not _URL.fullmatch(url):
            hint = "e.g. https://index.example/simple/"
            yield Problem(where=where, what=f"{url!r} is no plain http or https URL", hint=hint)
        elif url.startswith("https:") and _IP.fullmatch(urlsplit(url).hostname or ""):
            hint = "name the host; --resolver or /etc/hosts gives its address"
            yield Problem(where=where, what=f"{url!r}: nginx compares certificates with names only", hint=hint)

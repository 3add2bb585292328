"""A configuration for nginx: the root of a repo host, and behind it, where a site wants that, other indexes.

What decides is the file system at the time of each request: the configuration stays the same whatever is released.
Which project is meant is decided first (its normalised name), then whether the release has it, and only then is
anything else asked. All of it is done by what nginx-light has: no Lua, no Perl.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from importlib.resources import files
from urllib.parse import urlsplit

from bundler.errors import UsageError
from bundler.model.accept import HTML, SIMPLE_HTML, SIMPLE_JSON
from bundler.serving.nginx_options import WORD, NginxOptions, option_problems

_NAME = "[a-z0-9]+(?:-[a-z0-9]+)*"
_INDEX = f"/(?:simple/{WORD}|os-releases/{WORD}(?:/{WORD})?/simple)"
_ARCHIVE = r"\.(?:whl|tar\.gz|tar\.bz2|tar\.xz|tgz|zip)(?:\.metadata)?"
#: Values of $bundle_page.
_PAGES = {SIMPLE_JSON: "json", SIMPLE_HTML: "simple-html", HTML: "html"}


def nginx_config(options: NginxOptions) -> str:
    """Return the text of the configuration.

    Raises:
        UsageError: Options do not fit, or would mean something else to nginx; ``problems`` lists all of it.
    """
    problems = list(option_problems(options))
    if problems:
        raise UsageError("no configuration can be made of this", problems=problems)
    upstream = bool(options.upstreams)
    return _fill(
        "nginx",
        accepts="".join(f'    "~*{pattern}" {page};\n' for pattern, page in _accepts()),
        http=_fill("nginx-cache", cache=_quoted(options.cache.path), cache_size=options.cache.size)
        if upstream
        else "",
        listens="".join(f"    listen {one}{' ssl' if options.certificate else ''};\n" for one in options.listen),
        server_name=options.server_name,
        tls=_tls(options),
        root=_quoted(options.root),
        index=_INDEX,
        name=_NAME,
        spellings="".join(f'        rewrite "{pattern}" "{to}";\n' for pattern, to in _spellings()),
        project=_project(options) if upstream else "",
        plain_page=_fill("nginx-page", html="@bundle_html"),
        upstream=_proxies(options) if upstream else "",
    )


class _Template(string.Template):
    """Dollar signs are nginx's own."""

    delimiter = "%"


def _fill(part: str, /, **values: str) -> str:
    text = files("bundler.serving").joinpath("data").joinpath(f"{part}.conf.tmpl").read_text("utf-8")
    return _Template(text).substitute(values)


def _accepts() -> Iterator[tuple[str, str]]:
    """Yield a pattern for each type and quality, the highest first: the first that matches counts."""
    for level in (
        r"(?:,|$|;\s*q=1)",
        *(rf";\s*q=0?\.{tenth}" for tenth in range(9, 0, -1)),
        r";\s*q=0?\.0[0-9]*[1-9]",
    ):
        for kind, page in _PAGES.items():
            yield rf"(?:^|[,\s]){re.escape(kind).replace('v1', '(?:v1|latest)')}\s*{level}", page


def _spellings() -> Iterator[tuple[str, str]]:
    for letter in string.ascii_uppercase:
        yield f"^({_INDEX}/[^/]*){letter}([^/]*/)$", f"$1{letter.lower()}$2"
    for _ in range(3):
        yield f"^({_INDEX}/[^/]*?)(?:[._-]{{2,}}|[._])([^/]*/)$", "$1-$2"


def _tls(options: NginxOptions) -> str:
    if not options.certificate:
        return ""
    return (
        f"    ssl_certificate {_quoted(options.certificate)};\n"
        f"    ssl_certificate_key {_quoted(options.key)};\n"
        "    ssl_protocols TLSv1.2 TLSv1.3;\n"
        "    ssl_session_cache shared:bundle_tls:1m;\n"
    )


def _project(options: NginxOptions) -> str:
    return _fill(
        "nginx-project",
        name=_NAME,
        project_page=_fill("nginx-page", html="@bundle_project_html"),
        guards=_guards(options),
        first=f"/upstream/1{_path(options.upstreams[0])}",
    )


def _guards(options: NginxOptions) -> str:
    """Return the rule that decides: what the release has, for whichever target, is asked for nowhere else."""
    text = "$bundle_project is a project of the release, for another target at least: it comes from nowhere else."
    return "".join(
        f'        if (-e "$document_root/simple/{target}/$bundle_project") {{\n'
        f'            return 404 "{text}\\n";\n'
        "        }\n"
        for target in dict.fromkeys(("all", *options.targets))
    )


def _proxies(options: NginxOptions) -> str:
    places = [_upstream(options, number) for number in range(1, len(options.upstreams) + 1)]
    for number, url in enumerate(options.files, start=1):
        kept = _kept(options, url, f"files-{number}", "@bundle_unknown")
        places.append(
            _fill(
                "nginx-files",
                number=str(number),
                url=url,
                path_pattern=re.escape(_path(url)),
                archive=_ARCHIVE,
                kept=kept,
                **{"pass": _pass(options, url)},
            )
        )
    redirects = "".join(
        f"    proxy_redirect {_origin(url)}/ /upstream/{place}/;\n" for place, url in _places(options)
    )
    return _fill(
        "nginx-proxy",
        resolver=f"    resolver {options.resolver};\n" if options.resolver else "",
        tls=_checked_tls(options),
        redirects=redirects,
        places="".join(places),
    )


def _checked_tls(options: NginxOptions) -> str:
    if not any(url.startswith("https:") for _, url in _places(options)):
        return ""
    return (
        "    proxy_ssl_server_name on;\n"
        "    proxy_ssl_verify on;\n"
        "    proxy_ssl_verify_depth 5;\n"
        f"    proxy_ssl_trusted_certificate {_quoted(options.ca)};\n"
    )


def _upstream(options: NginxOptions, number: int) -> str:
    url = options.upstreams[number - 1]
    last = number == len(options.upstreams)
    unknown = "@bundle_unknown" if last else f"@bundle_next_{number}"
    # Only "there is no such project" leads to the next one: one that is down might have it.
    following = "" if last else f"/upstream/{number + 1}{_path(options.upstreams[number])}$bundle_project/"
    step = f'    location {unknown} {{\n        return 302 "{following}";\n    }}\n'
    return _fill(
        "nginx-upstream",
        number=str(number),
        url=url,
        path_pattern=re.escape(_path(url)),
        index_pattern=re.escape(_path(url).lstrip("/")),
        name=_NAME,
        archive=_ARCHIVE,
        guards=_guards(options),
        errors=_fill("nginx-errors", unknown=unknown),
        origin=_set_origin(options, url),
        fresh=options.cache.pages,
        filters="".join(
            f"        sub_filter '{_origin(one) + _path(one, whole=place.startswith('files'))}' "
            f"'/upstream/{place}{_path(one, whole=place.startswith('files'))}';\n"
            for place, one in _places(options)
        ),
        next="" if last else step,
        kept=_kept(options, url, str(number), "@bundle_unknown"),
        **{"pass": _pass(options, url)},
    )


def _kept(options: NginxOptions, url: str, key: str, unknown: str) -> str:
    errors = _fill("nginx-errors", unknown=unknown)
    return _fill("nginx-kept", errors=errors, origin=_set_origin(options, url), key=key)


def _places(options: NginxOptions) -> Iterator[tuple[str, str]]:
    """Yield the name below /upstream/ and the URL of all that is proxied."""
    yield from ((f"files-{number}", url) for number, url in enumerate(options.files, start=1))
    yield from ((str(number), url) for number, url in enumerate(options.upstreams, start=1))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _path(url: str, *, whole: bool = True) -> str:
    return f"{urlsplit(url).path.rstrip('/')}/" if whole else "/"


def _set_origin(options: NginxOptions, url: str) -> str:
    return f"        set $bundle_origin {_origin(url)};\n" if options.resolver else ""


def _pass(options: NginxOptions, url: str) -> str:
    return "$bundle_origin" if options.resolver else _origin(url)


def _quoted(path: str) -> str:
    return f'"{path}"'

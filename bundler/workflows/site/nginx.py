"""Make a configuration for the web server of repo hosts; ``site.yaml``, if there is one, says what was not said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bundler import files
from bundler.deploy.places import Places
from bundler.deploy.site_file import read_site
from bundler.errors import UsageError
from bundler.events import Emit, Warned, ignore
from bundler.model.site import RepoHost, Site
from bundler.serving.nginx import nginx_config
from bundler.serving.nginx_options import NginxOptions


@dataclass(frozen=True, kw_only=True)
class NginxRequest:
    """What was said (``root`` and targets may be left to the site), for which host, and where it is to be written."""

    places: Places
    options: NginxOptions
    host: str = ""
    out: Path | None = None


def make_nginx_config(request: NginxRequest, emit: Emit = ignore) -> str:
    """Return the configuration, and write it to ``out`` where that is given.

    Raises:
        UsageError: Options do not fit, or ``site.yaml`` has no such host.
        SiteError: ``site.yaml`` is wrong.
    """
    options = request.options
    if request.host or request.places.site.exists():
        options = _of_site(options, read_site(request.places), request.host)
    text = nginx_config(replace(options, root=options.root or NginxOptions.root))
    if options.upstreams and not options.targets:
        what = "no targets are known: what the release has for one system only may come from elsewhere for another"
        emit(Warned(message=what, hint="name them with --target, or under targets in site.yaml"))
    if request.out is not None:
        files.write(request.out, text.encode())
    return text


def _of_site(options: NginxOptions, site: Site, name: str) -> NginxOptions:
    hosts = [host for host in site.repo_hosts if name in ("", host.name)]
    if name and not hosts:
        known = ", ".join(host.name for host in site.repo_hosts)
        raise UsageError(f"--host {name}: site.yaml has no such repo host", hint=f"it has {known or 'none'}")
    return replace(
        options,
        root=options.root or _common_root(hosts),
        # Whatever a host holds: a project of any target of the site is ours.
        targets=tuple(dict.fromkeys((*options.targets, *site.all_targets))),
    )


def _common_root(hosts: list[RepoHost]) -> str:
    roots = sorted({host.root for host in hosts})
    if len(roots) > 1:
        raise UsageError(
            f"repo hosts have different roots: {', '.join(roots)}", hint="say --host NAME, and make one for each"
        )
    return roots[0] if roots else ""

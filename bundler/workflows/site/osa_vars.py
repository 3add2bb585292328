"""What OpenStack-Ansible has to be told about the release that a site serves, or about a bundle on a medium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bundler.bundle.reader import Bundle, open_bundle
from bundler.deploy.places import Places
from bundler.deploy.site_file import read_site
from bundler.deploy.venv_release import open_release
from bundler.errors import UsageError
from bundler.model.osa_variables import OsaVariables, osa_variables


@dataclass(frozen=True, kw_only=True)
class OsaVarsRequest:
    """A bundle on a medium; without one the ``release`` (an id or a line) that the site's repo hosts serve.

    ``branch`` of OpenStack-Ansible; empty: the one that the bundle was made for.
    """

    places: Places
    bundle: Path | None = None
    release: str = ""
    branch: str = ""


def osa_vars(request: OsaVarsRequest) -> OsaVariables:
    """Return the variables, why each of them, and advice.

    Raises:
        UsageError: There is no such release, or it does not say what OpenStack-Ansible needs.
        BundleError: The bundle is damaged.
    """
    if request.bundle is not None and request.release:
        raise UsageError("a bundle and --release say two things", hint="leave one of them out")
    with _opened(request) as bundle:
        contents = bundle.contents
    if not contents.openstack_ansible:
        raise UsageError(
            f"{contents.id} was made before bundles said what OpenStack-Ansible needs",
            hint="build it again with a newer bundle-build",
        )
    return osa_variables(contents, contents.openstack_ansible[0], request.branch)


@contextmanager
def _opened(request: OsaVarsRequest) -> Iterator[Bundle]:
    if request.bundle is not None:
        with open_bundle(request.bundle) as bundle:
            yield bundle
        return
    hosts = frozenset(host.name for host in read_site(request.places).repo_hosts)
    with open_release(request.places, hosts, request.release) as bundle:
        yield bundle

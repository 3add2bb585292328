"""The jump host of a site, as an endpoint."""

from __future__ import annotations

from bundler.errors import SiteError
from bundler.model.site import Ssh
from bundler.model.site_kinds import Wrong, parse_jump
from bundler.transport.port import Endpoint


def jump_endpoint(ssh: Ssh, endpoint: Endpoint) -> Endpoint:
    """Return where to go through to reach ``endpoint``; it is logged into with the site's own identity.

    Raises:
        SiteError: ``ssh.jump`` is no jump host.
    """
    try:
        jump = parse_jump(ssh.jump)
    except Wrong as error:
        raise SiteError(f"ssh.jump: {error.what}", hint=error.hint) from error
    return Endpoint(
        name=f"{endpoint.name}, jump host {jump.host}",
        address=jump.host,
        port=jump.port,
        user=jump.user or ssh.user,
        identity=ssh.identity,
    )

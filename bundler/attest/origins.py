"""Where a package came from, fit for publication: no credentials, no paths of the build host. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from bundler.model.lock import Artifact, GitSource, Origin

_SCP = re.compile(r"(?:[^@/]+@)?(?P<host>[^:/@]+):(?P<path>[^/].*)")


def public_url(url: str) -> str:
    """Return ``url`` without user, password and query; of a file on this host only its name.

    A relative path stays as it is; git's ``user@host:path`` becomes an ssh URL.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" or url.startswith("/"):
        return parts.path.rstrip("/").rpartition("/")[2]
    if "://" not in url:
        match = _SCP.fullmatch(url)
        return f"ssh://{match['host']}/{match['path']}" if match else url
    fragment = parts.fragment if parts.scheme.startswith("git+") else ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", fragment))


def origin_uri(origin: Origin) -> str:
    """Return the URI of an origin: the file's address, ``git+…@commit`` (SPDX download location), or a path."""
    if isinstance(origin, Artifact):
        return public_url(origin.url) or origin.name
    if isinstance(origin, GitSource):
        inside = f"#{origin.subdirectory}" if origin.subdirectory else ""
        scheme = "" if origin.url.startswith("git+") else "git+"
        return f"{scheme}{public_url(origin.url)}@{origin.commit}{inside}"
    return origin.path


def origin_digest(origin: Origin) -> dict[str, str]:
    """Return the digest of an origin as an in-toto DigestSet."""
    if isinstance(origin, GitSource):
        return {"gitCommit": origin.commit}
    return {"sha256": origin.sha256}

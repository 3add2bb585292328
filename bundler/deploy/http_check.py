"""Does a repo host serve over HTTP what was signed? Every file is fetched from its URL and hashed."""

from __future__ import annotations

import hashlib
import http.client
import posixpath
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from bundler.errors import UsageError
from bundler.files import CHUNK
from bundler.model.contents import Contents
from bundler.repohost.port import Difference

#: Files of one host at a time; seconds without a byte.
_AT_ONCE, _PATIENCE = 4, 60
_INDEX = "/index.html"


@dataclass(frozen=True, kw_only=True)
class Served:
    """A path below a host's URL and what has to come from there."""

    path: str
    size: int
    sha256: str


def served_files(contents: Contents, targets: Iterable[str]) -> Iterator[Served]:
    """Yield what a host with these targets serves of a release: files, and links as the files they lead to."""
    wanted = set(targets)
    files = {file.path: file for file in contents.files if wanted & set(file.targets)}
    for file in files.values():
        yield Served(path=file.path, size=file.size, sha256=file.sha256)
    for link in contents.links:
        if not wanted & set(link.targets):
            continue
        leads = posixpath.normpath(posixpath.join(posixpath.dirname(link.path), link.to))
        # Of a directory one file tells whether the server follows the link.
        for end in ("", _INDEX):
            to = files.get(leads + end)
            if to is not None:
                yield Served(path=link.path + end, size=to.size, sha256=to.sha256)


def check_http(url: str, served: Iterable[Served]) -> tuple[Difference, ...]:
    """Fetch everything from below ``url`` and return what is not as it was signed, sorted.

    Raises:
        UsageError: ``url`` is no http or https URL.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{url!r} is no http or https URL", hint="see url in site.yaml")
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = pool.map(lambda one: _check(url.rstrip("/"), one), list(served))
        return tuple(sorted((one for one in found if one), key=lambda one: one.path))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A host that sends us elsewhere does not serve the file itself."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing: the redirect is the answer."""


def _check(url: str, wanted: Served) -> Difference | None:
    # No proxy of the environment: the host itself is asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    try:
        with opener.open(f"{url}/{quote(wanted.path)}", timeout=_PATIENCE) as reply:
            digest, left = hashlib.sha256(), wanted.size + 1
            while left and (piece := reply.read(min(CHUNK, left))):
                digest.update(piece)
                left -= len(piece)
    except urllib.error.HTTPError as error:
        return Difference(kind="removed", path=wanted.path, detail=f"over HTTP: {error.code} {error.reason}")
    except (OSError, http.client.HTTPException) as error:
        return Difference(kind="removed", path=wanted.path, detail=f"over HTTP: {error}")
    if left != 1 or digest.hexdigest() != wanted.sha256:
        return Difference(kind="changed", path=wanted.path, detail="over HTTP: other bytes than were signed")
    return None

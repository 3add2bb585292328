"""Fetch a file from a repo host over HTTP into a file that a later run goes on with."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

from bundler.errors import TransferFailed
from bundler.files import CHUNK, room_for

#: Seconds without a byte after which a server counts as gone.
_TIMEOUT = 60
_TRIES = 3
#: No venv archive is larger (bytes).
MAX_ARCHIVE = 1 << 36


def fetch_text(url: str, limit: int) -> bytes:
    """Return what a server has at ``url``, at most ``limit`` bytes of it.

    Raises:
        TransferFailed: It is not there, or the server does not answer.
    """
    try:
        with urllib.request.urlopen(_request(url, 0), timeout=_TIMEOUT) as response:  # noqa: S310 -- as below
            data: bytes = response.read(limit)
            return data
    except urllib.error.HTTPError as error:
        error.close()
        raise _failed(url, error) from error
    except OSError as error:
        raise _failed(url, error) from error


def download(url: str, path: Path) -> None:
    """Fetch ``url`` into ``path``; what is there already is not fetched again. Whoever calls checks the digest.

    Raises:
        TransferFailed: It is not there, or the connection breaks again and again; what came stays.
        SpaceError: There is no room.
    """
    for left in reversed(range(_TRIES)):
        try:
            _go_on(url, path)
        except OSError as error:  # noqa: PERF203 -- a few tries
            if not left or isinstance(error, urllib.error.HTTPError):
                raise _failed(url, error) from error
        else:
            return


def _go_on(url: str, path: Path) -> None:
    with room_for(path), path.open("ab") as file:
        start = os.fstat(file.fileno()).st_size
        try:
            response = urllib.request.urlopen(_request(url, start), timeout=_TIMEOUT)  # noqa: S310 -- as below
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
                return
            raise
        with response:
            if response.status != HTTPStatus.PARTIAL_CONTENT:
                file.truncate(0)
                start = 0
            left = int(response.headers.get("Content-Length", MAX_ARCHIVE))
            expected = left
            while left and (piece := response.read(min(CHUNK, left))):
                left -= len(piece)
                file.write(piece)
            if left and expected != MAX_ARCHIVE:
                raise ConnectionError(f"the connection ended {left} bytes early")


def _request(url: str, start: int) -> urllib.request.Request:
    if not url.startswith(("http://", "https://")):
        raise TransferFailed(f"{url} is no http address")
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    return urllib.request.Request(url, headers=headers)  # noqa: S310 -- the scheme was checked


def _failed(url: str, error: OSError) -> TransferFailed:
    return TransferFailed(f"cannot fetch {url}: {error}", hint="is it the target's venvs directory of a repo host?")

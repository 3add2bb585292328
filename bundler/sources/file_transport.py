"""``file:`` URLs for httpx, ranges included, so that a local index or wheel folder reads like a server."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import httpx

from bundler.errors import FetchFailed
from bundler.sources.credentials import redact_url

_RANGE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))")
_PIECE = 1 << 18


def file_address(url: str, root: Path = Path("/")) -> str:
    """Return the address by which :class:`FileTransport` knows a ``file:`` URL; httpx wants a host in each.

    A relative one, ``file:wheels/x.whl``, is below ``root``.

    Raises:
        FetchFailed: It names another host.
    """
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise FetchFailed(f"{redact_url(url)} names a host", hint="write file:///path")
    path = parts.path if parts.path.startswith("/") else posixpath.normpath(f"{quote(str(root))}/{parts.path}")
    return f"http://localhost{path}"


class FileTransport(httpx.BaseTransport):
    """Answer GET and HEAD from the file system. Stateless: threads may share it."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the file, or a part of it, or 404."""
        path = Path(unquote(request.url.raw_path.decode("ascii")))
        if not path.is_file():
            return httpx.Response(404, request=request)
        size = path.stat().st_size
        span = _span(request.headers.get("range", ""), size)
        if span is None:
            return _respond(request, path, 200, (0, size), {})
        if span[0] >= span[1]:
            return httpx.Response(416, request=request, headers={"content-range": f"bytes */{size}"})
        return _respond(request, path, 206, span, {"content-range": f"bytes {span[0]}-{span[1] - 1}/{size}"})


class _Slice(httpx.SyncByteStream):
    """Bytes of a file, read as they are asked for."""

    def __init__(self, path: Path, start: int, stop: int) -> None:
        self._path, self._start, self._left = path, start, stop - start

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            file.seek(self._start)
            while self._left and (piece := file.read(min(_PIECE, self._left))):
                self._left -= len(piece)
                yield piece


def _respond(
    request: httpx.Request, path: Path, status: int, span: tuple[int, int], headers: dict[str, str]
) -> httpx.Response:
    stamp = path.stat()
    headers = {
        "content-length": str(span[1] - span[0]),
        "etag": f'"{stamp.st_mtime_ns:x}-{stamp.st_size:x}"',
        "accept-ranges": "bytes",
        **headers,
    }
    body = _Slice(path, 0, 0) if request.method == "HEAD" else _Slice(path, *span)
    return httpx.Response(status, request=request, headers=headers, stream=body)


def _span(header: str, size: int) -> tuple[int, int] | None:
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return max(0, size - int(suffix)), size
    return int(first), min(size, int(last) + 1) if last else size

"""Reads over HTTP: one pooled client with HTTP/2, retries, credentials per host; ``file:`` URLs work the same.

Foreign exceptions are translated here, and no message holds a password or a query.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import final
from urllib.parse import urlsplit

import certifi
import httpx

from bundler.errors import FetchFailed
from bundler.model.index import IndexConfig
from bundler.sources.credentials import Credentials, redact_text, redact_url
from bundler.sources.file_transport import FileTransport, file_address
from bundler.sources.retry import Retry, Transient, persist

CHUNK = 1 << 18
#: Longest document that :meth:`HttpClient.get` returns unless told otherwise.
LIMIT = 64 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_TRANSIENT = frozenset({408, 425, 429})
_NEVER = frozenset({501, 505})
_LOGIN_HINT = (
    "if it needs a password, put the host into ~/.netrc or a keyring, "
    "or set UV_INDEX_<NAME>_USERNAME and UV_INDEX_<NAME>_PASSWORD"
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Bytes of a range and the size of the whole file."""

    data: bytes
    total: int


@final
class HttpClient:
    """Any number of threads may use one client; each request borrows a connection pool of its own.

    (A pool shared by threads would race for HTTP/2 stream numbers.)  ``lacking`` holds what origins were found not
    to offer in this run, as (feature, origin).
    """

    def __init__(
        self, config: IndexConfig | None = None, *, credentials: Credentials | None = None, retry: Retry | None = None
    ) -> None:
        self._config = config or IndexConfig()
        self._auth = _HostAuth(credentials or Credentials(self._config))
        self.retry = retry or Retry()
        self.lacking: set[tuple[str, object]] = set()
        self._tls: ssl.SSLContext | None = None
        self._files = httpx.Client(transport=FileTransport())
        self._idle: list[httpx.Client] = []
        self._all: list[httpx.Client] = [self._files]
        self._lock = threading.Lock()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_details: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for client in self._all:
            client.close()

    @contextlib.contextmanager
    def stream(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """Yield the response of one attempt, status 200, 206 or 416; read it with ``iter_raw``.

        Raises:
            FetchFailed: It failed for good.
            Transient: Worth another attempt, see :func:`persist`.
        """
        wanted = {"Accept-Encoding": "identity", **(headers or {})}
        with (
            self._lease(url) as (client, address),
            _translated(url),
            client.stream("GET", address, headers=wanted) as response,
        ):
            _check(response, url)
            yield response

    def get(self, url: str, *, limit: int = LIMIT) -> bytes:
        """Return the document at ``url``.

        Raises:
            FetchFailed: It cannot be had, or is longer than ``limit`` bytes.
        """
        return persist(self.retry, lambda: self._get(url, limit))

    def ranged(self, url: str, start: int, stop: int | None = None) -> Part | None:
        """Return bytes ``start`` to before ``stop`` (negative ``start``: the last ones); None if it has no ranges.

        Raises:
            FetchFailed: It cannot be had.
        """
        return persist(self.retry, lambda: self._ranged(url, start, stop))

    def size(self, url: str) -> int | None:
        """Return the size of the file at ``url`` where the server says it without being asked twice."""
        try:
            with self._lease(url) as (client, address), _translated(url):
                response = client.head(address, headers={"Accept-Encoding": "identity"})
        except (FetchFailed, Transient):
            return None
        length = response.headers.get("content-length", "")
        return int(length) if response.status_code == httpx.codes.OK and length.isdigit() else None

    def _get(self, url: str, limit: int) -> bytes:
        data = bytearray()
        with self.stream(url) as response:
            for piece in response.iter_raw(CHUNK):
                data += piece
                if len(data) > limit:
                    raise FetchFailed(f"{redact_url(url)} is longer than {limit} bytes", hint="is the URL right?")
        return bytes(data)

    def _ranged(self, url: str, start: int, stop: int | None) -> Part | None:
        wanted = f"bytes={start}" if start < 0 else f"bytes={start}-{'' if stop is None else stop - 1}"
        with self.stream(url, {"Range": wanted}) as response:
            span = content_range(response)
            if span is None:
                return None
            first, last, total = span
            data = bytearray()
            for piece in response.iter_raw(CHUNK):
                data += piece
                if len(data) > last - first + 1:
                    return None
            honest = first == (max(total + start, 0) if start < 0 else start) and len(data) == last - first + 1
            return Part(data=bytes(data), total=total) if honest else None

    @contextlib.contextmanager
    def _lease(self, url: str) -> Iterator[tuple[httpx.Client, str]]:
        if url.startswith("file:"):
            yield self._files, file_address(url, self._config.root)
            return
        with self._lock:
            client = self._idle.pop() if self._idle else self._open()
        try:
            yield client, url
        finally:
            with self._lock:
                self._idle.append(client)

    def _open(self) -> httpx.Client:
        if self._tls is None:
            self._tls = _tls_context(self._config)
        client = httpx.Client(
            http2=True,
            verify=self._tls,
            auth=self._auth,
            proxy=self._config.proxy,
            mounts=_unverified(self._config),
            timeout=_timeout(self._config),
            follow_redirects=True,
            headers={"User-Agent": "bundle-build"},
        )
        self._all.append(client)
        return client


class _HostAuth(httpx.Auth):
    """Basic authentication with what is known for the host; the keyring is asked after a refusal only."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        url = str(request.url)
        login = self._credentials.known(url)
        if login:
            yield from httpx.BasicAuth(*login).auth_flow(request)
            return
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED and request.url.scheme != "file":
            login = self._credentials.from_keyring(url)
            if login:
                yield from httpx.BasicAuth(*login).auth_flow(request)


def content_range(response: httpx.Response) -> tuple[int, int, int] | None:
    """Return first byte, last byte and total size of a partial response (RFC 9110 §14.4), None if it is none."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if response.status_code != httpx.codes.PARTIAL_CONTENT or match is None:
        return None
    first, last, total = (int(group) for group in match.groups())
    return (first, last, total) if first <= last < total else None


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    shown = redact_url(url)
    try:
        yield
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
        raise FetchFailed(f"{shown}: {redact_text(str(error))}", hint="check the URL") from error
    except httpx.TransportError as error:
        text = redact_text(str(error)) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in text:
            hint = "set SSL_CERT_FILE or pip's cert option to the CA bundle of this network"
            raise FetchFailed(f"{shown}: the server's certificate is not trusted", hint=hint) from error
        hint = "check the network and the proxy (HTTPS_PROXY), then run again: what is there already is kept"
        raise Transient(FetchFailed(f"{shown}: {text}", hint=hint)) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise FetchFailed(f"{shown}: {redact_text(str(error))}") from error


def _check(response: httpx.Response, url: str) -> None:
    """Let usable answers pass and turn the others into errors."""
    status = response.status_code
    if status in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE):
        return
    shown = redact_url(url)
    via = f" (redirected to {redact_url(str(response.url))})" if response.history else ""
    message = f"{shown}{via}: the server says {status} {response.reason_phrase}".rstrip()
    if status in _TRANSIENT or (status >= httpx.codes.INTERNAL_SERVER_ERROR and status not in _NEVER):
        raise Transient(
            FetchFailed(message, hint="the server has trouble; run again later"),
            wait=_retry_after(response.headers),
        )
    hint = _LOGIN_HINT if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN) else ""
    raise FetchFailed(message, hint=hint)


def _retry_after(headers: httpx.Headers) -> float:
    """Return the seconds that Retry-After asks for (RFC 9110 §10.2.3): a number, or a date (against the server's)."""
    value = headers.get("retry-after", "")
    if value.isdigit():
        return float(value[:6])
    try:
        then, date = parsedate_to_datetime(value), parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (then - date).total_seconds())
    except (ValueError, TypeError, IndexError):
        return 0.0


def _tls_context(config: IndexConfig) -> ssl.SSLContext:
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    bundle = config.cert or next((os.environ[name] for name in names if os.environ.get(name)), None)
    try:
        if bundle is None:
            context = ssl.create_default_context()
            context.load_verify_locations(certifi.where())
        elif Path(bundle).is_dir():
            context = ssl.create_default_context(capath=bundle)
        else:
            context = ssl.create_default_context(cafile=bundle)
        if config.client_cert:
            context.load_cert_chain(config.client_cert)
    except OSError as error:
        raise FetchFailed(
            f"cannot use the certificates {bundle or ''} {config.client_cert or ''}: {error.strerror or error}",
            hint="check SSL_CERT_FILE, REQUESTS_CA_BUNDLE and pip's cert and client-cert options",
        ) from error
    return context


def _timeout(config: IndexConfig) -> httpx.Timeout:
    text = config.env.get("UV_HTTP_TIMEOUT", "")
    return httpx.Timeout(float(text) if text.isdigit() else 30.0, connect=15.0)


def _unverified(config: IndexConfig) -> dict[str, httpx.BaseTransport | None]:
    """Return transports for hosts that pip is told to trust (trusted-host)."""
    hosts = config.env.get("UV_INSECURE_HOST", "").split()
    proxy = httpx.Proxy(config.proxy) if config.proxy else None
    return {
        f"https://{urlsplit(f'//{host}').netloc}": httpx.HTTPTransport(verify=False, http2=True, proxy=proxy)
        for host in hosts
    }

"""The HTTP client: retries, ranges, credentials per host, messages without secrets."""

from __future__ import annotations

import dataclasses
import ssl
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.errors import FetchFailed
from bundler.model.index import IndexConfig, IndexSpec
from bundler.sources.credentials import Credentials
from bundler.sources.http import HttpClient
from bundler.sources.retry import Retry, Transient, persist

if TYPE_CHECKING:
    from tests.sources.conftest import Loopback

QUICK = Retry(attempts=2, base=0.01, cap=0.01)


def test_a_document_is_read(server: Loopback, client: HttpClient) -> None:
    """A page is returned whole."""
    server.add("/constraints.txt", b"a==1\n")

    assert client.get(f"{server.url}/constraints.txt") == b"a==1\n"


def test_a_document_has_a_limit(server: Loopback, client: HttpClient) -> None:
    """A page longer than allowed is refused, not kept in memory."""
    server.add("/big", b"x" * 1001)

    with pytest.raises(FetchFailed, match="longer than 1000 bytes"):
        client.get(f"{server.url}/big", limit=1000)


def test_ranges(server: Loopback, client: HttpClient) -> None:
    """Parts from the start, the middle and the end come with the size of the whole."""
    server.add("/f", bytes(range(100)))

    parts = [client.ranged(f"{server.url}/f", *span) for span in ((0, 10), (50, None), (-5, None))]

    assert [(part.data, part.total) for part in parts if part] == [
        (bytes(range(10)), 100),
        (bytes(range(50, 100)), 100),
        (bytes(range(95, 100)), 100),
    ]


def test_no_ranges(server: Loopback, client: HttpClient) -> None:
    """A server that ignores ranges is told apart."""
    server.add("/f", b"x" * 100, ranges=False)

    assert client.ranged(f"{server.url}/f", -5) is None


def test_local_files_have_ranges(client: HttpClient, tmp_path: Path) -> None:
    """file: URLs read like a server, names with blanks and percent signs included."""
    path = tmp_path / "50% of it"
    path.write_bytes(b"0123456789")

    part = client.ranged(path.as_uri(), -3)

    assert part is not None
    assert (part.data, part.total) == (b"789", 10)
    assert client.get(path.as_uri()) == b"0123456789"
    assert client.size(path.as_uri()) == 10


def test_a_missing_local_file(client: HttpClient, tmp_path: Path) -> None:
    """A file that is not there is an error like a 404."""
    with pytest.raises(FetchFailed, match="404"):
        client.get((tmp_path / "nothing").as_uri())


def test_a_file_url_with_a_host(client: HttpClient) -> None:
    """A file: URL of another host is refused."""
    with pytest.raises(FetchFailed, match="names a host"):
        client.get("file://server.example/etc/passwd")


def test_retry_after_is_honoured_within_reason(server: Loopback) -> None:
    """The server's wish counts, but not for an hour."""
    retry = Retry(attempts=2, base=0.01, cap=0.01, longest_wait=0.2)

    assert retry.delay(1, asked=3600) == pytest.approx(0.2)
    assert retry.delay(1, asked=0.1) == pytest.approx(0.1)
    assert retry.delay(30) <= 0.01


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("Fri, 02 Jan 2026 03:04:15 GMT", 10.0), ("soon", 0.0), ("", 0.0)],
)
def test_retry_after_forms(server: Loopback, client: HttpClient, http_date: str, value: str, seconds: float) -> None:
    """Retry-After is a number or a date, the latter against the server's own clock."""
    server.add("/busy", b"", statuses=[503], headers={"Retry-After": value, "Date": http_date})

    with pytest.raises(Transient) as caught, client.stream(f"{server.url}/busy"):
        pass

    assert caught.value.wait == seconds


def test_progress_earns_more_attempts() -> None:
    """Attempts are counted from one again after each that moved on."""
    failures = [Transient(FetchFailed("cut"), progressed=True) for _ in range(9)]

    def action() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert persist(QUICK, action) == "done"


def test_a_stop_ends_waiting() -> None:
    """Ctrl-C does not wait for a back-off of a minute."""
    stop = threading.Event()
    stop.set()

    def action() -> None:
        raise Transient(FetchFailed("busy"))

    with pytest.raises(FetchFailed, match="busy"):
        persist(Retry(base=600, cap=600), action, stop)


def test_nobody_there(client: HttpClient) -> None:
    """A refused connection names the URL and says what to check."""
    with pytest.raises(FetchFailed, match=r"127\.0\.0\.1:1/x") as caught:
        client.get("http://127.0.0.1:1/x")
    assert "proxy" in caught.value.hint


@pytest.mark.parametrize("url", ["ftp://host.example/x", "http://[::1/x", "nonsense"])
def test_unusable_urls(client: HttpClient, url: str) -> None:
    """What is no HTTP URL ends in our error, not in a foreign one."""
    with pytest.raises(FetchFailed):
        client.get(url)


def test_a_password_is_sent_to_its_host(server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password of netrc opens the host that it is for."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cret-word\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.add("/x", b"x", login="me:s3cret-word")

    with HttpClient(retry=QUICK) as client:
        assert client.get(f"{server.url}/x") == b"x"


def test_a_password_is_not_sent_to_others(server: Loopback) -> None:
    """A redirect to another origin takes no password along."""
    server.add("/x", b"", redirect=f"{server.url.replace('127.0.0.1', 'localhost')}/y")
    server.add("/y", b"y")
    config = IndexConfig(
        indexes=(IndexSpec(name="own", url=f"{server.url}/simple"),),
        env={"UV_INDEX_OWN_USERNAME": "me", "UV_INDEX_OWN_PASSWORD": "s3cret-word"},
    )

    with HttpClient(config, retry=QUICK) as client:
        client.get(f"{server.url}/x")

    assert ["Authorization" in request.headers for request in server.requests] == [True, False]


def test_a_refusal_says_where_passwords_go(server: Loopback, client: HttpClient) -> None:
    """401 is final and its hint names netrc, keyring and the environment."""
    server.add("/x", b"x", login="me:word")

    with pytest.raises(FetchFailed, match="401") as caught:
        client.get(f"{server.url}/x")
    assert "netrc" in caught.value.hint
    assert len(server.requests) == 1


def test_the_keyring_is_asked_after_a_refusal(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password in the keyring opens the host, and is asked for once."""
    import keyring  # noqa: PLC0415  # the backend is chosen by the environment
    import keyring.backend  # noqa: PLC0415  # same
    import keyring.credentials  # noqa: PLC0415  # same

    class Ring(keyring.backend.KeyringBackend):
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            return "s3cret-word" if (service, username) == ("127.0.0.1", "me") else None

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

        def get_credential(self, service: str, username: str | None) -> keyring.credentials.Credential | None:
            password = self.get_password(service, "me")
            return keyring.credentials.SimpleCredential("me", password) if password else None

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())  # type: ignore[no-untyped-call]  # keyring types only some of it
    try:
        server.add("/x", b"x", login="me:s3cret-word")
        with HttpClient(retry=QUICK) as client:
            assert client.get(f"{server.url}/x") == b"x"
    finally:
        keyring.set_keyring(before)


def test_no_message_holds_a_secret(server: Loopback) -> None:
    """Errors show neither passwords in URLs nor query values."""
    url = f"http://me:s3cret-word@127.0.0.1:{server.server_port}/gone?token=t0ken-word"

    with HttpClient(retry=QUICK) as client, pytest.raises(FetchFailed) as caught:
        client.get(url)

    shown = repr(caught.value) + str(caught.value.__cause__) + caught.value.hint
    assert "s3cret-word" not in shown
    assert "t0ken-word" not in shown


@pytest.fixture
def tls_server(server: Loopback, tmp_path: Path) -> tuple[Loopback, Path]:
    """Serve with a certificate of our own making."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    subprocess.run(
        ["openssl", *made, *names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server, cert


def test_an_unknown_certificate_is_refused(tls_server: tuple[Loopback, Path], client: HttpClient) -> None:
    """A server with a certificate that nobody vouches for is refused at once, with the way out."""
    server, _ = tls_server

    with pytest.raises(FetchFailed, match="not trusted") as caught:
        client.get(f"https://localhost:{server.server_port}/x")
    assert "SSL_CERT_FILE" in caught.value.hint


def test_the_configured_ca_is_used(tls_server: tuple[Loopback, Path]) -> None:
    """The CA bundle of pip's configuration makes the server trusted."""
    server, cert = tls_server
    server.add("/x", b"x")

    with HttpClient(IndexConfig(cert=str(cert)), retry=QUICK) as client:
        assert client.get(f"https://localhost:{server.server_port}/x") == b"x"


def test_a_trusted_host_needs_no_certificate(tls_server: tuple[Loopback, Path]) -> None:
    """What pip is told to trust (trusted-host) is trusted."""
    server, _ = tls_server
    server.add("/x", b"x")
    config = IndexConfig(env={"UV_INSECURE_HOST": f"localhost:{server.server_port}"})

    with HttpClient(config, retry=QUICK) as client:
        assert client.get(f"https://localhost:{server.server_port}/x") == b"x"


def test_a_missing_ca_bundle_is_named(tmp_path: Path) -> None:
    """A CA bundle that is not there is an error that names it."""
    with (
        HttpClient(IndexConfig(cert=str(tmp_path / "no.pem")), retry=QUICK) as client,
        pytest.raises(FetchFailed, match=r"no\.pem"),
    ):
        client.get("https://localhost:1/x")


def test_the_proxy_is_used(server: Loopback) -> None:
    """With a proxy configured, requests go to it."""
    server.pages["http://index.example/x"] = dataclasses.replace(server.add("/unused", b"via"))

    with HttpClient(IndexConfig(proxy=server.url), credentials=Credentials(environ={}), retry=QUICK) as client:
        assert client.get("http://index.example/x") == b"via"

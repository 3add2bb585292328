"""`bundle-install serve`: what only a server of our own has to prove."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bundler.events import Event, Noted
from bundler.repohost.releases import activate, rollback
from bundler.serving import handler, server
from tests.repohost.handmade import Host, Made
from tests.serving.trees import TARGET
from tests.serving.web import Site, free_port, ours

BIN = Path(sys.executable).parent
BASE = f"os-releases/33/{TARGET}"
BIG = 48 << 20
A = Made("os-33-1", {f"{BASE}/wheels/a.whl": b"A" * 5000, "constraints/only-a.txt": b"a===1\n"})
B = Made("os-33-2", {f"{BASE}/wheels/a.whl": b"B" * 5000, "constraints/only-b.txt": b"b===1\n"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a root as a first activation does, with a large file."""
    wheels = tmp_path / "www" / BASE / "wheels"
    wheels.mkdir(parents=True)
    with (wheels / "big.whl").open("wb") as file:
        file.truncate(BIG)
    (wheels / "a b&<c>.whl").write_bytes(b"x")
    return tmp_path / "www"


@dataclass
class Process:
    """The command as a process, and what it said where it listens."""

    popen: subprocess.Popen[str]
    said: dict[str, Any]

    @property
    def place(self) -> tuple[str, int]:
        parts = urlsplit(self.said["url"])
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def end(self) -> tuple[int, str]:
        self.popen.send_signal(signal.SIGTERM)
        _, err = self.popen.communicate(timeout=30)
        return self.popen.returncode, err


def command(*arguments: str | Path) -> list[str]:
    return [str(BIN / "bundle-install"), "serve", *map(str, arguments)]


@contextmanager
def process(root: Path, *arguments: str | Path) -> Iterator[Process]:
    words = command("--root", root, "--listen", "127.0.0.1:0", "--json", *arguments)
    popen = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert popen.stdout is not None
        text = ""
        for line in popen.stdout:
            text += line
            if line == "}\n":
                break
        yield Process(popen, json.loads(text))
    finally:
        popen.kill()
        popen.communicate()


def test_a_switch_is_seen_at_once(tmp_path: Path) -> None:
    """A client that shows the tag of before gets the new file after a switch, and the old one after going back."""
    host = Host(tmp_path / "www")
    host.add(A)
    host.add(B)
    path, tags = f"/{BASE}/wheels/a.whl", []

    with host.wire() as wire:
        activate(wire, A.id)
        with ours(host.root) as site:
            got = site.get(path)
            for step in (lambda: activate(wire, B.id), lambda: rollback(wire, "os-33", A.id)):
                tags.append(got.fields["etag"])
                step()
                got = site.get(path, If_None_Match=got.fields["etag"], If_Modified_Since=got.fields["last-modified"])
                assert got.status == 200
                assert got.body in {A.files[path[1:]], B.files[path[1:]]}
            assert site.get(path, If_None_Match=tags[0]).status == 304
            assert site.get("/constraints/only-b.txt").body == b"b===1\n"

    assert tags[0] != tags[1]


def test_readers_see_the_old_or_the_new(tmp_path: Path) -> None:
    """While releases are switched a reader gets either's file, whole, each time."""
    host = Host(tmp_path / "www")
    host.add(A)
    host.add(B)
    stop, wrong, seen = threading.Event(), [], set()

    def read(site: Site) -> None:
        while not stop.is_set():
            got = site.get(f"/{BASE}/wheels/a.whl")
            seen.add(got.body[:1])
            if got.status != 200 or got.body not in {b"A" * 5000, b"B" * 5000}:
                wrong.append(got)

    with host.wire() as wire:
        activate(wire, A.id)
        activate(wire, B.id)
        with ours(host.root) as site:
            reader = threading.Thread(target=read, args=(site,))
            reader.start()
            for number in range(6):
                rollback(wire, "os-33", (A, B)[number % 2].id)
            stop.set()
            reader.join()

    assert (wrong, seen) == ([], {b"A", b"B"})


@pytest.mark.parametrize("to", ["../outside.txt", ".bundles/inbox/x/blob", ".bundles/trust/0001/policy.txt", "fifo"])
def test_links_lead_only_to_what_is_released(root: Path, to: str) -> None:
    """A link out of the root, into our own state or to a pipe is not followed; nobody waits for the pipe."""
    for path in ("../outside.txt", ".bundles/inbox/x/blob", ".bundles/trust/0001/policy.txt"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("secret")
    os.mkfifo(root / "fifo")
    (root / "link.txt").symlink_to(to)
    (root / "directory").symlink_to(Path(to).parent)

    with ours(root) as site:
        answers = [site.get("/link.txt"), site.get(f"/directory/{Path(to).name}")]

    assert [one.status for one in answers] == [404, 404]


def test_odd_names_are_listed_and_found(root: Path) -> None:
    """The list of a directory of wheels is HTML whatever names are in it, and its links lead to the files."""
    with ours(root) as site:
        listed = site.get(f"/{BASE}/wheels/").body.decode()
        file = site.get(f"/{BASE}/wheels/a%20b%26%3Cc%3E.whl")

    assert '<a href="a%20b%26%3Cc%3E.whl">a b&amp;&lt;c&gt;.whl</a>' in listed
    assert file.body == b"x"


def test_requests_share_a_connection(root: Path) -> None:
    """A client asks again on the same connection, also after parts and 304; a body it sends is not a request."""
    with ours(root) as site:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        for fields in ({"Range": "bytes=0-9"}, {"If-None-Match": "*"}, {"Range": "bytes=5-"}, {}):
            connection.request("GET", f"/{BASE}/wheels/big.whl", headers=fields)
            assert len(connection.getresponse().read()) in {10, 0, BIG - 5, BIG}
        connection.request("GET", "/", body=b"GET /x HTTP/1.1\r\n\r\n")
        reply = connection.getresponse()
        reply.read()
        connection.close()

    assert (reply.status, reply.headers["Connection"]) == (404, "close")


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nX: ", b"GET /%s/wheels/big.whl HTTP/1.1\r\n\r\n" % BASE.encode()]
)
def test_who_is_slow_is_let_go(root: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Who sends no request, half of one, or takes nothing of an answer loses the connection; others are served."""
    monkeypatch.setattr(handler.Handler, "timeout", 0.3)

    with ours(root) as site, socket.create_connection(("127.0.0.1", site.port), timeout=30) as slow:
        slow.sendall(sent)
        assert site.get(f"/{BASE}/wheels/a%20b%26%3Cc%3E.whl").status == 200
        threading.Event().wait(1.0)
        got = b""
        while piece := slow.recv(1 << 20):
            got += piece

    assert len(got) < BIG


def test_who_drips_is_let_go(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has to come whole within the time, however steadily its bytes come."""
    monkeypatch.setattr(server, "PATIENCE", 0.3)

    with ours(root) as site, socket.create_connection(("127.0.0.1", site.port), timeout=30) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        cut = False
        while not cut:
            try:
                slow.sendall(b"X")
            except OSError:
                cut = True
            threading.Event().wait(0.02)

    assert cut


def test_one_too_many_is_told_to_come_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections beyond the limit get 503 at once; when one has gone, the next is served."""
    monkeypatch.setattr(server, "_MOST", 1)

    with ours(root) as site:
        with socket.create_connection(("127.0.0.1", site.port), timeout=30):
            while site.get("/").status != 503:
                pass
        while site.get("/").status != 404:
            pass


def test_accesses_are_logged_without_harm(root: Path) -> None:
    """Each request is one line of the log: who, what, status and size; what would steer a terminal is escaped."""
    events: list[Event] = []

    with ours(root, events.append) as site, socket.create_connection(("127.0.0.1", site.port), timeout=30) as raw:
        raw.sendall(b"GET /\x1b[2J HTTP/1.1\r\nConnection: close\r\n\r\n")
        while raw.recv(4096):
            pass

    assert [one.message for one in events if isinstance(one, Noted)] == ['127.0.0.1 "GET /\\x1b[2J HTTP/1.1" 404 67']


def test_an_answer_under_way_comes_to_its_end(root: Path) -> None:
    """SIGTERM: a download that runs is finished, who waits on an open connection is let go, the status is 0."""
    with process(root) as running:
        idle = http.client.HTTPConnection(*running.place, timeout=30)
        idle.request("HEAD", "/")
        idle.getresponse().read()
        loading = http.client.HTTPConnection(*running.place, timeout=30)
        loading.request("GET", f"/{BASE}/wheels/big.whl")
        reply = loading.getresponse()
        reply.read(1000)

        running.popen.send_signal(signal.SIGTERM)
        rest = len(reply.read())
        status = running.popen.wait(30)
        idle.close()
        loading.close()

    assert (rest, status) == (BIG - 1000, 0)
    assert (running.said["loopback"], running.said["root"]) == (True, str(root))


def _memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def test_https_needs_no_memory_for_a_file(root: Path, certificate: tuple[Path, Path]) -> None:
    """With a certificate it is https; a file of 48 MB passes through less than a third of that memory."""
    crt, key = certificate
    with process(root, "--tls-cert", crt, "--tls-key", key) as running:
        context = ssl.create_default_context(cafile=str(crt))
        before = _memory(running.popen.pid)
        connection = http.client.HTTPSConnection(*running.place, timeout=30, context=context)
        connection.request("GET", f"/{BASE}/wheels/big.whl")
        size = len(connection.getresponse().read())
        after = _memory(running.popen.pid)
        with socket.create_connection(running.place, timeout=30) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            plain.recv(1000)
        connection.close()
        status, err = running.end()

    assert running.said["url"].startswith("https://")
    assert size == BIG
    assert after - before < BIG / 3
    assert (status, "Traceback" in err) == (0, False)


def test_ipv6(root: Path) -> None:
    """An IPv6 address in brackets will do, and is said to be this host's alone where it is."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this host has no IPv6")
    with process(root, "--listen", "[::1]:0") as running:
        connection = http.client.HTTPConnection(*running.place, timeout=30)
        connection.request("GET", f"/{BASE}/wheels/")
        status = connection.getresponse().status
        connection.close()

    assert (status, running.said["loopback"]) == (200, True)
    assert running.said["url"].startswith("http://[::1]:")


def test_what_cannot_be_served_is_said(root: Path, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """A port in use, a root that is none, a key that cannot be used: one message and the documented status."""
    crt, key = certificate
    (tmp_path / "empty").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used = f"127.0.0.1:{taken.getsockname()[1]}"
        wrong: dict[tuple[str | Path, ...], tuple[int, str]] = {
            ("--root", root, "--listen", used): (92, f"cannot listen on {used}: Address already in use"),
            ("--root", root, "--listen", "192.0.2.1:0"): (92, "cannot listen on 192.0.2.1:0"),
            ("--root", root, "--listen", "nonsense"): (2, "no address with a port"),
            ("--root", root, "--listen", "127.0.0.1:70000"): (2, "no address with a port"),
            ("--root", tmp_path / "empty"): (2, "holds no release"),
            ("--root", tmp_path / "nowhere"): (2, "is no directory"),
            ("--root", root, "--tls-cert", crt): (2, "go together"),
            ("--root", root, "--tls-cert", crt, "--tls-key", tmp_path / "none"): (2, "No such file"),
            ("--root", root, "--tls-cert", crt, "--tls-key", key.with_name("locked")): (2, "without a passphrase"),
            ("--root", root, "--tls-cert", key, "--tls-key", key): (2, "no certificate and key"),
        }
        for arguments, (status, text) in wrong.items():
            done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=30)

            assert (done.returncode, text in done.stderr, "Traceback" in done.stderr) == (status, True, False), done


def test_other_hosts_are_mentioned(root: Path) -> None:
    """Who listens on an address that others can reach reads so."""
    with process(root, "--listen", f"0.0.0.0:{free_port()}") as running:
        assert running.said["loopback"] is False

"""How to log in, where to, and what goes wrong there."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.errors import BundlerError, HostKeyRefused, HostUnreachable, SiteError, TransferFailed
from bundler.transport.port import Transport
from tests.sshd import ADDRESS, Sshd, make_key, public
from tests.transport.conftest import REMOTE, Way, way_to

either = pytest.mark.parametrize("way", REMOTE, indirect=True)
own = pytest.mark.parametrize("own_way", REMOTE, indirect=True)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the socket of an agent that holds nothing yet."""
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    while not path.exists():
        assert process.poll() is None
        threading.Event().wait(0.01)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    yield path
    process.send_signal(signal.SIGTERM)
    process.wait()


def add(path: Path, passphrase: str = "") -> None:
    """Hand a key to the agent, as its owner would."""
    ask = path.with_name("ask")
    ask.write_text(f"#!/bin/sh\necho '{passphrase}'\n")
    ask.chmod(0o700)
    env = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", str(path)], check=True, env=env, stdin=subprocess.DEVNULL)


def works(transport: Transport) -> bool:
    done = transport.open(["true"]).finish().status == 0
    transport.close()
    return done


def failure(way: Way, kind: type[BundlerError] = HostUnreachable) -> BundlerError:
    with pytest.raises(kind) as caught:
        way.connect()
    assert "repo1" in caught.value.message
    return caught.value


def refuse(sshd: Sshd) -> str:
    """Make a key that the server does not know."""
    path = sshd.directory / "stranger"
    return str(path if path.exists() else make_key(path))


@pytest.mark.usefixtures("agent")
@either
def test_agent(way: Way, server: Sshd) -> None:
    """Without an identity the keys of the agent are tried."""
    add(server.identity)

    assert works(way.using(identity="", agent=True).connect())


@pytest.mark.usefixtures("agent")
@either
def test_agent_is_not_asked(way: Way, server: Sshd) -> None:
    """With agent: false its keys do not count."""
    add(server.identity)

    failure(way.using(identity="", agent=False))


@pytest.mark.usefixtures("agent")
@either
def test_identity_with_passphrase(way: Way, own_server: Sshd, tmp_path: Path) -> None:
    """An identity with a passphrase works through an agent, and without one the hint says to add it."""
    locked = make_key(tmp_path / "locked", passphrase="secret words")
    with own_server.authorized_keys.open("a") as file:
        file.write(f"{public(locked)}\n")
    with_agent = way_to(own_server, way.transport).using(identity=str(locked), agent=True)

    error = failure(with_agent)
    add(locked, "secret words")

    assert "ssh-add" in error.hint
    assert works(with_agent.connect())
    assert works(with_agent.using(identity=f"{locked}.pub").connect())


@either
def test_key_that_is_not_let_in(way: Way, server: Sshd) -> None:
    """A refused login names the user and the key that was tried."""
    error = failure(way.using(identity=refuse(server)))

    assert f"does not let {server.user} in; tried " in error.message
    assert "stranger" in error.message
    assert "SHA256:" in error.message


@pytest.mark.sshd
@pytest.mark.parametrize("content", [None, "", "no key\n"])
def test_identity_that_cannot_be_used(server: Sshd, tmp_path: Path, content: str | None) -> None:
    """A missing or broken identity is named."""
    path = tmp_path / "identity"
    if content is not None:
        path.write_text(content)

    error = failure(way_to(server, "ssh").using(identity=str(path)))

    assert f"the identity {path} cannot be used" in error.message


@either
def test_forced_command(way: Way) -> None:
    """A key that is restricted to one command runs that, whatever was asked for."""
    transport = way.login("admit").connect()
    channel = transport.open(["rm", "-rf", "everything"])

    channel.send(b"hello\n")

    assert [channel.line(), channel.line()] == [b"forced", b"hello"]
    assert channel.finish().status == 0
    transport.close()


@either
def test_nobody_listens(way: Way, own_server: Sshd) -> None:
    """A host where nothing listens is unreachable, and the message says where."""
    closed = way_to(own_server, way.transport)
    own_server.stop()

    error = failure(closed)

    assert f"{own_server.port}" in error.message


@pytest.mark.parametrize("name", ["ssh", "openssh"])
def test_host_that_accepts_and_says_nothing(tmp_path: Path, name: str) -> None:
    """A host that takes the connection and never speaks is unreachable after the connect timeout."""
    sshd = Sshd(tmp_path)
    with socket.create_server((ADDRESS, 0)) as mute:
        sshd.port = mute.getsockname()[1]
        way = way_to(sshd, "ssh" if name == "ssh" else "openssh").using(connect_timeout=1)

        failure(way)


@pytest.mark.parametrize("name", ["ssh", "openssh"])
def test_name_that_does_not_resolve(tmp_path: Path, name: str) -> None:
    """A host name that nobody knows is unreachable."""
    way = way_to(Sshd(tmp_path), "ssh" if name == "ssh" else "openssh")

    error = failure(dataclasses.replace(way, address="no-such-host.invalid"))

    assert "no-such-host.invalid" in error.message


@own
def test_session_killed_while_reading(own_way: Way, own_server: Sshd) -> None:
    """A reader learns at once that the connection was cut: it is not the end of the output."""
    transport = own_way.connect()
    channel = transport.open(["sh", "-c", "echo begun; sleep 600"])
    assert channel.line() == b"begun"

    own_server.cut()

    with pytest.raises(TransferFailed, match="the connection was cut"):
        channel.read(100)
    with pytest.raises(TransferFailed, match="the connection was cut"):
        transport.open(["true"])
    transport.close()


@own
def test_session_killed_while_sending(own_way: Way, own_server: Sshd) -> None:
    """A sender learns it as well."""
    transport = own_way.connect()
    channel = transport.open(["sh", "-c", "echo begun; cat >/dev/null"])
    assert channel.line() == b"begun"
    channel.send(bytes(1_000_000))

    own_server.cut()

    with pytest.raises(TransferFailed, match="the connection was cut"):
        channel.send(bytes(200_000_000))
    transport.close()


@own
def test_session_killed_before_the_end(own_way: Way, own_server: Sshd) -> None:
    """A command of which the status never came did not end well."""
    transport = own_way.connect()
    channel = transport.open(["sh", "-c", "exec >&-; sleep 600"])

    own_server.cut()

    with pytest.raises(TransferFailed, match="the connection was cut"):
        channel.finish()
    transport.close()


@own
def test_a_new_connection_after_a_cut(own_way: Way, own_server: Sshd) -> None:
    """The host is reached again once it is back."""
    first = own_way.connect()
    assert own_server.link is not None
    own_server.link.drop()
    with pytest.raises(TransferFailed):
        first.open(["cat"]).line()
    first.close()

    assert works(own_way.connect())


@pytest.mark.slow
@own
def test_host_that_falls_silent(own_way: Way, own_server: Sshd) -> None:
    """A host that gives no sign of life is given up after four keepalives, whoever waits."""
    transport = own_way.using(keepalive=1).connect()
    channel, sending = transport.open(["cat"]), transport.open(["cat"])
    failures: list[BundlerError] = []

    def send() -> None:
        try:
            sending.send(bytes(400_000_000))
        except TransferFailed as error:
            failures.append(error)

    assert own_server.link is not None
    own_server.link.freeze()
    sender = threading.Thread(target=send)
    sender.start()

    with pytest.raises(TransferFailed, match="the connection was cut"):
        channel.read(1)
    sender.join()
    assert len(failures) == 1
    transport.close()


@pytest.mark.slow
@own
def test_quiet_command_on_a_live_host(own_way: Way) -> None:
    """A command that says nothing for longer than that is left alone as long as its host answers."""
    transport = own_way.using(keepalive=1).connect()

    channel = transport.open(["sh", "-c", "sleep 6; echo done"])

    assert channel.line() == b"done"
    transport.close()


@pytest.mark.slow
@own
def test_slow_link_with_keepalive(own_way: Way, own_server: Sshd) -> None:
    """A link that takes long for little is no dead one."""
    transport = own_way.using(keepalive=1).connect()
    assert own_server.link is not None
    own_server.link.rate = 400_000

    channel = transport.open(["sh", "-c", "cat | wc -c"])
    channel.send(bytes(3_000_000))

    channel.end()
    assert channel.line() == b"3000000"
    transport.close()


@either
def test_jump_host(way: Way, tmp_path: Path) -> None:
    """A host behind a jump host is reached through it, each with its own pinned key."""
    with Sshd(tmp_path / "jump", forwarding=True) as jump:
        through = behind(way, jump, tmp_path)

        assert works(through.connect())


@either
def test_jump_host_that_is_not_pinned(way: Way, tmp_path: Path) -> None:
    """The jump host's key counts too."""
    with Sshd(tmp_path / "jump", forwarding=True) as jump:
        through = behind(way, jump, tmp_path)
        Path(through.ssh.known_hosts).write_text(f"{way.sshd.host_key_line if way.sshd else ''}\n")

        failure(through, HostKeyRefused)


@either
def test_host_behind_a_jump_host_that_is_not_pinned(way: Way, tmp_path: Path) -> None:
    """Through a jump host the host's own key is checked all the same."""
    with Sshd(tmp_path / "jump", forwarding=True) as jump:
        through = behind(way, jump, tmp_path)
        Path(through.ssh.known_hosts).write_text(f"{jump.host_key_line}\n")

        failure(through, HostKeyRefused)


@either
def test_jump_host_that_forwards_nothing(way: Way, tmp_path: Path) -> None:
    """A jump host that may not forward makes the host unreachable."""
    with Sshd(tmp_path / "jump") as jump:
        failure(behind(way, jump, tmp_path))


@either
def test_jump_that_is_no_host(way: Way) -> None:
    """A jump host of another form is refused."""
    with pytest.raises(SiteError, match="jump"):
        way.using(jump="-oProxyCommand=evil").connect()


def behind(way: Way, jump: Sshd, directory: Path) -> Way:
    """Return the way through ``jump``, which lets the same key in."""
    assert way.sshd is not None
    jump.authorized_keys.write_text(f"{public(way.sshd.identity)}\n")
    known = directory / "all hosts"
    known.write_text(f"{jump.host_key_line}\n{way.sshd.host_key_line}\n")
    return way.using(jump=f"{jump.user}@{ADDRESS}:{jump.port}", known_hosts=str(known))


@pytest.mark.sshd
def test_host_ca(own_server: Sshd, tmp_path: Path) -> None:
    """The openssh driver accepts a host that a CA vouches for which is pinned for the host's port."""
    authority = make_key(tmp_path / "authority")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", str(authority), "-h", "-I", "repo1", "-n", ADDRESS, f"{own_server.host_key}.pub"],
        check=True,
    )
    own_server.stop()
    with Sshd(tmp_path / "own", options=[f"HostCertificate {own_server.host_key}-cert.pub"]) as certified:
        known = tmp_path / "known_hosts"
        known.write_text(f"@cert-authority {ADDRESS},[{ADDRESS}]:* {public(authority)}\n")

        way = way_to(certified, "openssh").using(known_hosts=str(known))

        assert works(way.connect())
        known.write_text(f"@cert-authority {ADDRESS} {public(authority)}\n")
        failure(way, HostKeyRefused)


@pytest.mark.sshd
def test_new_keys_while_sending(tmp_path: Path) -> None:
    """A server that wants new session keys after each megabyte gets them, both ways, in the middle of a transfer."""
    with Sshd(tmp_path, options=["RekeyLimit 1M"]) as sshd:
        transport = way_to(sshd, "ssh").connect()
        channel = transport.open(["cat"])

        def send() -> None:
            channel.send(bytes(20_000_000))
            channel.end()

        sender = threading.Thread(target=send)
        sender.start()

        received = sum(len(data) for data in iter(lambda: channel.read(65536), b""))

        sender.join()
        transport.close()
    assert received == 20_000_000


@pytest.mark.slow
@pytest.mark.sshd
def test_twenty_hosts_at_once(tmp_path: Path) -> None:
    """Twenty servers are connected to and used at the same time."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Sshd(tmp_path / str(number))) for number in range(20)]
        answers: dict[int, bytes] = {}

        def use(number: int) -> None:
            transport = way_to(servers[number], "ssh").connect()
            channel = transport.open(["sh", "-c", "cat | wc -c"])
            channel.send(bytes(1_000_000 + number))
            channel.end()
            answers[number] = channel.line()
            transport.close()

        threads = [threading.Thread(target=use, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert answers == {number: str(1_000_000 + number).encode() for number in range(20)}


@pytest.mark.slow
@either
def test_many_hosts_behind_one_jump_host(way: Way, tmp_path: Path) -> None:
    """A jump host with sshd's own limits lets all hosts through, though all are wanted at the same moment."""
    with Sshd(tmp_path / "jump", forwarding=True, options=["MaxStartups 10:100:100"]) as jump:
        through = behind(way, jump, tmp_path)
        done: list[bool] = []
        threads = [threading.Thread(target=lambda: done.append(works(through.connect()))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert done == [True] * 20

"""A real sshd for all tests of a module, and ways to it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundler.model.site import Ssh, TransportName
from bundler.transport.drivers import connect
from bundler.transport.limiter import Limiter
from bundler.transport.local import LocalTransport
from bundler.transport.openssh import OpensshTransport
from bundler.transport.port import Endpoint, Transport
from bundler.transport.ssh import SshTransport
from tests.sshd import ADDRESS, Login, Sshd

#: The drivers that need a server.
REMOTE = (
    pytest.param("ssh", marks=pytest.mark.sshd),
    pytest.param("openssh", marks=pytest.mark.sshd),
)
DRIVERS = ("local", *REMOTE)


@dataclasses.dataclass(frozen=True)
class Way:
    """How to reach a server: what a test changes before it connects."""

    sshd: Sshd | None
    ssh: Ssh
    transport: TransportName
    address: str = ADDRESS

    @property
    def endpoint(self) -> Endpoint:
        if self.sshd is None:
            return Endpoint(name="repo1", address="")
        return Endpoint(name="repo1", address=self.address, port=self.sshd.port, user=self.sshd.user)

    def using(self, **changes: object) -> Way:
        return dataclasses.replace(self, ssh=dataclasses.replace(self.ssh, **changes))  # type: ignore[arg-type]

    def login(self, name: str) -> Way:
        assert self.sshd is not None
        return self.using(identity=str(self.sshd.key(name)))

    def connect(self, limiter: Limiter | None = None) -> Transport:
        return connect(self.endpoint, self.transport, self.ssh, limiter)

    def impatient(self, patience: float) -> Transport:
        limiter = Limiter(0)
        if self.transport == "local":
            return LocalTransport(self.endpoint, limiter, patience=patience)
        driver = SshTransport if self.transport == "ssh" else OpensshTransport
        return driver(self.endpoint, self.ssh, limiter, patience=patience)


def way_to(sshd: Sshd | None, transport: TransportName) -> Way:
    if sshd is None:
        return Way(sshd=None, ssh=Ssh(), transport=transport)
    ssh = Ssh(
        user=sshd.user,
        identity=str(sshd.identity),
        agent=False,
        known_hosts=str(sshd.known_hosts),
        connect_timeout=10,
    )
    return Way(sshd=sshd, ssh=ssh, transport=transport)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    forced = Login(
        name="admit", command='echo "$SSH_ORIGINAL_COMMAND" >/dev/null; echo forced; cat', options="restrict"
    )
    with Sshd(tmp_path_factory.mktemp("sshd"), logins=[forced]) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Sshd]:
    """Return a server that the test may harm."""
    with Sshd(tmp_path / "own", linked=True) as running:
        yield running


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Way:
    """Return the way to the shared server by the driver that the test is run with."""
    name: TransportName = request.param
    return way_to(None if name == "local" else request.getfixturevalue("server"), name)


@pytest.fixture
def own_way(request: pytest.FixtureRequest, own_server: Sshd) -> Way:
    return way_to(own_server, request.param)


@pytest.fixture
def host(way: Way) -> Iterator[Transport]:
    transport = way.connect()
    with contextlib.closing(transport):
        yield transport


Resident = Callable[[], int]


@pytest.fixture
def resident() -> Resident:
    """Return a function that says how many bytes of memory this process holds."""

    def read() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    return read

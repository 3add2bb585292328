"""Only a pinned host key is accepted, by both drivers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bundler.errors import HostKeyRefused
from tests.sshd import ADDRESS, Sshd, make_key, public
from tests.transport.conftest import REMOTE, Way

pytestmark = pytest.mark.parametrize("way", REMOTE, indirect=True)


def fingerprint(path: Path) -> str:
    return subprocess.run(
        ["ssh-keygen", "-lf", str(path)], check=True, capture_output=True, text=True
    ).stdout.split()[1]


def pinning(way: Way, path: Path, *lines: str) -> Way:
    path.write_text("".join(f"{line}\n" for line in lines))
    return way.using(known_hosts=str(path))


def accepted(way: Way) -> bool:
    transport = way.connect()
    done = transport.open(["true"]).finish().status == 0
    transport.close()
    return done


def refusal(way: Way) -> HostKeyRefused:
    with pytest.raises(HostKeyRefused) as caught:
        way.connect()
    return caught.value


def test_unknown_host(way: Way, server: Sshd, tmp_path: Path) -> None:
    """A host that is not pinned is refused, and the refusal names the key that it shows."""
    error = refusal(pinning(way, tmp_path / "known_hosts"))

    assert error.message.startswith("repo1: ")
    assert fingerprint(server.host_key) in error.message
    assert str(tmp_path / "known_hosts") in error.hint


def test_missing_file(way: Way, server: Sshd, tmp_path: Path) -> None:
    """Without the site's known_hosts nothing is known, whatever the user's own file says."""
    error = refusal(way.using(known_hosts=str(tmp_path / "missing")))

    assert fingerprint(server.host_key) in error.message


def test_changed_key(way: Way, server: Sshd, tmp_path: Path) -> None:
    """Another key than the pinned one is refused."""
    other = make_key(tmp_path / "other")

    error = refusal(pinning(way, tmp_path / "known_hosts", "#", f"[{ADDRESS}]:{server.port} {public(other)}"))

    assert fingerprint(server.host_key) in error.message
    assert f"{tmp_path}/known_hosts has {fingerprint(other)} (line 2)" in error.message


def test_key_of_another_type_is_pinned(way: Way, server: Sshd, tmp_path: Path) -> None:
    """A host that lost its pinned key and shows one of another type is refused too."""
    other = make_key(tmp_path / "other", kind="ecdsa")

    refusal(pinning(way, tmp_path / "known_hosts", f"[{ADDRESS}]:{server.port} {public(other)}"))


def test_revoked_key(way: Way, server: Sshd, tmp_path: Path) -> None:
    """A key that a @revoked line names is refused even if another line pins it."""
    revoked = f"@revoked * {public(server.host_key)}"

    refusal(pinning(way, tmp_path / "known_hosts", server.host_key_line, revoked))


@pytest.mark.parametrize("name", [f"[{ADDRESS}]:{{other}}", ADDRESS, f"[{ADDRESS}]:22"])
def test_other_port(way: Way, server: Sshd, tmp_path: Path, name: str) -> None:
    """A key that is pinned for one port, or for none, does not count for another."""
    name = name.format(other=server.port + 1)

    refusal(pinning(way, tmp_path / "known_hosts", f"{name} {public(server.host_key)}"))


def test_key_revoked_without_a_port(way: Way, server: Sshd, tmp_path: Path) -> None:
    """A revocation that names no port holds on every port."""
    revoked = f"@revoked {ADDRESS} {public(server.host_key)}"

    refusal(pinning(way, tmp_path / "known_hosts", server.host_key_line, revoked))


def test_hashed_name(way: Way, server: Sshd, tmp_path: Path) -> None:
    """A file whose names ssh-keygen -H has hashed works."""
    hashed = pinning(way, tmp_path / "known_hosts", server.host_key_line)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(tmp_path / "known_hosts")], check=True, capture_output=True)

    assert "127.0.0.1" not in (tmp_path / "known_hosts").read_text()
    assert accepted(hashed)


def test_lines_that_are_no_pins(way: Way, server: Sshd, tmp_path: Path) -> None:
    """Comments, CA lines, unknown markers and broken lines do not disturb those that count."""
    lines = (
        "# the repo hosts",
        "",
        f"@cert-authority *.example {public(server.host_key)}",
        "@strange thing",
        "broken",
        f"[{ADDRESS}]:{server.port} ssh-ed25519 %%%",
        f"other,[{ADDRESS}]:{server.port} {public(server.host_key)} comment",
    )

    assert accepted(pinning(way, tmp_path / "known hosts %h", *lines))

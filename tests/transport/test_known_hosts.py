"""The reader of known_hosts."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from bundler.errors import HostKeyRefused
from bundler.transport.known_hosts import KnownHosts, ShownKey, fingerprint, host_name, read_known_hosts

BLOB = b"a key"
KEY = base64.b64encode(BLOB).decode()
SHOWN = ShownKey(kind="ssh-ed25519", blob=BLOB)


def known(tmp_path: Path, *lines: str) -> KnownHosts:
    path = tmp_path / "known_hosts"
    path.write_text("\n".join(lines))
    return read_known_hosts(path)


@pytest.mark.parametrize(
    "names", ["repo1", "a,repo1", "repo*", "repo?", "REPO1", "*,!repo2", "|1|AAAA|x,repo1", "[x]:1,repo1"]
)
def test_names_that_match(tmp_path: Path, names: str) -> None:
    """A line is for a host that one of its patterns matches."""
    pins = known(tmp_path, f"{names} ssh-ed25519 {KEY}")

    pins.judge("repo1", "repo1", SHOWN)

    assert pins.kinds("repo1") == ("ssh-ed25519",)


@pytest.mark.parametrize("names", ["repo", "*,!repo1", "[repo1]:22", "[repo1]:*", "|1|AAAA|AAAA", "rep[o]1"])
def test_names_that_do_not_match(tmp_path: Path, names: str) -> None:
    """A line that is for others does not count."""
    pins = known(tmp_path, f"{names} ssh-ed25519 {KEY}")

    with pytest.raises(HostKeyRefused, match="no host key is pinned for repo1"):
        pins.judge("repo1", "repo1", SHOWN)


def test_line_to_add(tmp_path: Path) -> None:
    """The refusal of an unknown host has the line to add once the fingerprint is compared."""
    with pytest.raises(HostKeyRefused) as caught:
        known(tmp_path).judge("repo1", "[repo1]:2222", SHOWN)

    assert f"[repo1]:2222 ssh-ed25519 {KEY}" in caught.value.hint
    assert fingerprint(BLOB) in caught.value.message


def test_changed_key_names_both(tmp_path: Path) -> None:
    """The refusal of a changed key has the pinned and the shown fingerprint, and the line."""
    other = base64.b64encode(b"another").decode()

    with pytest.raises(HostKeyRefused) as caught:
        known(tmp_path, "# comment", f"repo1 ssh-ed25519 {other}").judge("repo1", "repo1", SHOWN)

    assert fingerprint(BLOB) in caught.value.message
    assert f"{fingerprint(b'another')} (line 2)" in caught.value.message


def test_host_of_a_ca(tmp_path: Path) -> None:
    """A host that only a CA vouches for is sent to the driver that can check that."""
    with pytest.raises(HostKeyRefused) as caught:
        known(tmp_path, f"@cert-authority * ssh-ed25519 {KEY}").judge("repo1", "repo1", SHOWN)

    assert "transport: openssh" in caught.value.hint


def test_broken_revocation(tmp_path: Path) -> None:
    """A @revoked line that cannot be understood is not passed over."""
    with pytest.raises(HostKeyRefused, match="line 1: a @revoked line"):
        known(tmp_path, "@revoked * ssh-ed25519 %%%")


def test_unreadable_file(tmp_path: Path) -> None:
    """A known_hosts that cannot be read is said to be that."""
    with pytest.raises(HostKeyRefused, match="cannot be read: Is a directory"):
        read_known_hosts(tmp_path)


def test_name_with_port() -> None:
    """Only the standard port is left out of a host's name."""
    assert (host_name("repo1", 22), host_name("repo1", 2222)) == ("repo1", "[repo1]:2222")


def test_lines_for_the_stock_client(tmp_path: Path) -> None:
    """Of a file the stock client gets what counts for one host at one port, under that one name."""
    lines = (
        f"repo1 ssh-ed25519 {KEY}",
        f"repo*,[repo?]:2222 ssh-rsa {KEY} comment",
        f"@revoked repo1 ecdsa {KEY}",
        f"@cert-authority *.example,[repo*]:* ssh-ed25519 {KEY}",
        f"@cert-authority repo1 ssh-rsa {KEY}",
        f"@strange [repo1]:2222 ssh-ed25519 {KEY}",
    )

    pins = known(tmp_path, *lines)

    assert pins.lines("[repo1]:2222").splitlines() == [
        f"[repo1]:2222 ssh-rsa {KEY}",
        f"@revoked [repo1]:2222 ecdsa {KEY}",
        f"@cert-authority [repo1]:2222 ssh-ed25519 {KEY}",
    ]
    assert pins.pinned("[repo1]:2222") == f"{fingerprint(BLOB)} (line 2)"
    assert pins.lines("other") == ""

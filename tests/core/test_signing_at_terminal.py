"""Signing with a key that has a passphrase: ssh-keygen asks the person, at the real terminal."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.bundle.layout import NAMESPACE
from bundler.bundle.writer import BundlePlan, write_bundle
from bundler.events import ignore
from bundler.model.contents import FileEntry, TargetEntry
from bundler.signing import sshkeygen

if TYPE_CHECKING:
    from tests.core.conftest import Terminal

BIN = Path(sys.executable).parent
TARGET = "debian-12-x86_64"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Make a key with the passphrase "open sesame"."""
    path = tmp_path / "key"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-C", "alice", "-f", str(path)]
    subprocess.run(argv, check=True)
    return path


@pytest.fixture
def env() -> dict[str, str]:
    """Give an environment without an agent and without a program that asks in a window."""
    foreign = ("SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY", "BUNDLE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "TERM": "xterm", "COLUMNS": "200"}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Write a bundle of one file."""
    data, installer = b"six==1.17\n", tmp_path / "installer"
    installer.write_bytes(b"#!/usr/bin/env python3\n")
    digest = hashlib.sha256(data).hexdigest()
    path = f"os-releases/1/{TARGET}/requirements/one-constraints.txt"
    plan = BundlePlan(
        name="demo",
        version="1",
        sequence=1,
        floor=0,
        created=1,
        tool="bundle-build 0",
        targets=(
            TargetEntry(name=TARGET, distro="debian", version="12", arch="x86_64", python="3.11.2", glibc="2.36"),
        ),
        files=(FileEntry(path=path, size=len(data), sha256=digest, mode=0o644, targets=(TARGET,), blobs=(digest,)),),
        blob_sizes={digest: len(data)},
        installer=installer,
    )
    write_bundle(plan, lambda _digest: io.BytesIO(data), tmp_path / "bundle", ignore)
    return tmp_path / "bundle"


def sign(bundle: Path, key: Path) -> list[str]:
    return [str(BIN / "bundle-build"), "sign", str(bundle), "--key", str(key), "--signer", "alice"]


def test_a_passphrase_is_asked_for_at_the_terminal(
    terminal: Terminal, bundle: Path, key: Path, env: dict[str, str]
) -> None:
    """The prompt stays while it waits: no bar is drawn over it. The passphrase typed there signs."""
    with terminal.run(*sign(bundle, key), env=env) as session:
        session.expect("Enter passphrase")
        session.read(0.2)
        assert session.read(1.0) == ""
        session.type("open sesame\n")

    assert session.status == 0, session.shown
    assert "ssh-keygen asks for" in session.shown
    signature = (bundle / "SHA256SUMS.alice.sig").read_bytes()
    subprocess.run(
        ["ssh-keygen", "-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(bundle / "SHA256SUMS.alice.sig")],
        input=(bundle / "SHA256SUMS").read_bytes(),
        check=True,
        capture_output=True,
    )
    assert signature.startswith(b"-----BEGIN SSH SIGNATURE-----")


def test_a_wrong_passphrase_signs_nothing(terminal: Terminal, bundle: Path, key: Path, env: dict[str, str]) -> None:
    """A wrong passphrase ends with the signing error's own exit code and no signature."""
    with terminal.run(*sign(bundle, key), env=env) as session:
        session.expect("Enter passphrase")
        session.type("wrong\n")

    assert session.status == 71, session.shown
    assert "cannot sign with" in session.shown
    assert not (bundle / "SHA256SUMS.alice.sig").exists()


def test_without_a_terminal_nobody_is_asked(bundle: Path, key: Path, env: dict[str, str]) -> None:
    """In a pipeline a key with a passphrase fails at once, and the hint says what would do."""
    done = subprocess.run(
        sign(bundle, key), stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, timeout=30, check=False
    )

    assert done.returncode == 71
    assert "ssh-add" in done.stderr


def test_an_agent_or_an_open_key_asks_nobody(
    terminal: Terminal, bundle: Path, key: Path, tmp_path: Path, env: dict[str, str]
) -> None:
    """At a terminal too, a key that an agent holds, or one without a passphrase, is used without a question."""
    sshkeygen.generate(tmp_path / "open", "open")
    with terminal.run(*sign(bundle, tmp_path / "open"), env=env) as session:
        pass
    assert session.status == 0, session.shown

    askpass = tmp_path / "askpass"
    askpass.write_text("#!/bin/sh\necho open sesame\n")
    askpass.chmod(0o755)
    asking = {**env, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    script = f'ssh-add -q "{key}" && unset SSH_ASKPASS && exec "$@"'
    argv = ["/usr/bin/env", "ssh-agent", "sh", "-c", script, "sh", *sign(bundle, key.with_suffix(".pub"))]
    with terminal.run(*argv, env=asking) as session:
        pass
    assert session.status == 0, session.shown
    assert "ssh-keygen asks for" not in session.shown

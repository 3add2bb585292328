"""Signing and checking with the operator's own ssh-keygen. Private keys are touched by nothing else.

Agents, FIDO tokens and PKCS#11 come for free: a public key file is signed with through the agent. A key that no
agent holds may ask the person at the terminal for its passphrase or PIN: ssh-keygen does that itself.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
import tempfile
from pathlib import Path

from bundler.errors import CommandFailed, SigningFailed
from bundler.process import Command, run
from bundler.signing.allowed_signers import format_allowed_signers
from bundler.signing.keys import FIDO, PublicKey, parse_public_key
from bundler.signing.trust import Policy, Verdict

_TOOL = "ssh-keygen"


def available() -> bool:
    """Return whether this host has ssh-keygen."""
    return shutil.which(_TOOL) is not None


def sign(message: bytes, key: Path, namespace: str, *, terminal: bool = False) -> bytes:
    """Return the armored signature of ``message`` by a private key file, or by the agent for a public one.

    With ``terminal``, ssh-keygen may use our terminal to ask; :func:`asks` tells whether it will.

    Raises:
        SigningFailed: ssh-keygen could not sign.
    """
    argv = [_TOOL, "-Y", "sign", "-q", "-n", namespace, "-f", str(key)]
    try:
        return _sign_at_terminal(argv, message) if terminal else run(Command(argv=argv, stdin=message)).stdout
    except CommandFailed as error:
        silence = "see what ssh-keygen said above" if terminal else "no message"
        last = (error.output.strip().splitlines() or [silence])[-1]
        raise SigningFailed(
            f"cannot sign with {key}: {last}",
            hint="a key with a passphrase: run this in a terminal, or ssh-add it; is the token plugged in?",
        ) from error


def _sign_at_terminal(argv: list[str], message: bytes) -> bytes:
    """Sign a file, because stdin is the person's."""
    with tempfile.TemporaryDirectory(prefix="bundle-sign-") as directory:
        path = Path(directory, "message")
        path.write_bytes(message)
        run(Command(argv=[*argv, str(path)], terminal=True))
        return path.with_name("message.sig").read_bytes()


def asks(key: Path, public: PublicKey) -> bool:
    """Return whether signing will ask the person at our terminal for a passphrase, a PIN or a touch."""
    if not _has_terminal() or _in_agent(public):
        return False
    private = key.with_suffix("") if key.suffix == ".pub" else key
    return private.is_file() and (is_token(public) or not _opens(private))


def _has_terminal() -> bool:
    """Return whether stdin is our terminal and we are in its foreground."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def _in_agent(key: PublicKey) -> bool:
    if "SSH_AUTH_SOCK" not in os.environ:
        return False
    held = run(Command(argv=["ssh-add", "-L"]), check=False).stdout
    return base64.b64encode(key.blob) in held.split()


def _opens(private: Path) -> bool:
    """Return whether the private key has no passphrase."""
    return run(Command(argv=[_TOOL, "-y", "-P", "", "-f", str(private)]), check=False).returncode == 0


def public_key(key: Path) -> PublicKey:
    """Return the public key that belongs to a private or public key file, from its ``.pub`` file where there is one.

    Raises:
        SigningFailed: It cannot be found out.
        FormatError: It is of a kind that is not accepted.
    """
    beside = key if key.suffix == ".pub" else key.with_name(key.name + ".pub")
    if beside.is_file():
        return parse_public_key(beside.read_text("utf-8", "replace").strip())
    try:
        text = run(Command(argv=[_TOOL, "-y", "-P", "", "-f", str(key)])).text
    except CommandFailed as error:
        last = (error.output.strip().splitlines() or ["no message"])[-1]
        raise SigningFailed(f"cannot read the key {key}: {last}", hint=f"put its public half at {beside}") from error
    return parse_public_key(text.strip())


def is_token(key: PublicKey) -> bool:
    """Return whether signing with the key needs a touch."""
    return key.kind in FIDO


def generate(path: Path, comment: str) -> None:
    """Make an Ed25519 key pair without a passphrase at ``path`` and ``path.pub``."""
    run(Command(argv=[_TOOL, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]))


def judge(policy: Policy, message: bytes, file: str, armored: bytes) -> Verdict:
    """Return what ssh-keygen thinks of one signature."""
    with tempfile.TemporaryDirectory(prefix="bundle-verify-") as directory:
        place = Path(directory)
        allowed, signature, revoked = place / "allowed", place / "signature", place / "revoked"
        allowed.write_bytes(format_allowed_signers(policy.signers))
        signature.write_bytes(armored)
        keys = [signer.key for signer in policy.signers if signer.key.blob in policy.revoked]
        revoked.write_text("".join(f"{key}\n" for key in keys), "ascii")
        found = run(
            Command(argv=[_TOOL, "-Y", "find-principals", "-f", str(allowed), "-s", str(signature)]), check=False
        )
        principals = found.text.split()
        if found.returncode != 0 or len(principals) != 1:
            return Verdict(file=file, reason="ssh-keygen finds no trusted signer")
        options = ["-f", str(allowed), "-I", principals[0], "-n", policy.namespace, "-s", str(signature)]
        revocation = ["-r", str(revoked)] if keys else []
        done = run(Command(argv=[_TOOL, "-Y", "verify", *options, *revocation], stdin=message), check=False)
    if done.returncode != 0:
        return Verdict(file=file, reason="ssh-keygen refuses it")
    return Verdict(file=file, principal=principals[0])

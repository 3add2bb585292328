"""Signing and checking with the operator's own ssh-keygen. Private keys are touched by nothing else.

Agents, FIDO tokens and PKCS#11 come for free: a public key file is signed with through the agent.
"""

from __future__ import annotations

import shutil
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


def sign(message: bytes, key: Path, namespace: str) -> bytes:
    """Return the armored signature of ``message`` by a private key file, or by the agent for a public one.

    Raises:
        SigningFailed: ssh-keygen could not sign.
    """
    argv = [_TOOL, "-Y", "sign", "-q", "-n", namespace, "-f", str(key)]
    try:
        return run(Command(argv=argv, stdin=message)).stdout
    except CommandFailed as error:
        last = (error.output.strip().splitlines() or ["no message"])[-1]
        raise SigningFailed(
            f"cannot sign with {key}: {last}",
            hint="a key with a passphrase: ssh-add it and give the .pub file; is the token plugged in?",
        ) from error


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
        raise SigningFailed(f"cannot read the key {key}", hint=f"put its public half at {beside}") from error
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
